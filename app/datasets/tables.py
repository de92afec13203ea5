"""The tables of data sets and of the distances between them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, OneOf


class Source(StrEnum):
    """Where the images of a data set are."""

    BUILTIN = "builtin"
    """In the service's own packages."""
    TORCHVISION = "torchvision"
    """Below the data root, in the form of torchvision."""
    UPLOAD = "upload"
    """In the file store, from an archive that was sent."""
    FOLDER = "folder"
    """In a folder below the data root."""
    FACTS = "facts"
    """Not here: only counts and sizes are known."""


class Dataset(Base):
    """Labelled images with a fixed train/test split, or the facts of one whose images are elsewhere."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    source: Mapped[Source] = mapped_column(OneOf(Source))
    channels: Mapped[int]
    image_size: Mapped[int]
    classes: Mapped[int]
    class_names: Mapped[list[Any]]
    train_count: Mapped[int]
    test_count: Mapped[int]
    artifact_key: Mapped[str | None]
    """Of an upload's images."""
    folder: Mapped[str | None]
    """Below the data root, of a registered folder."""
    created_at: Mapped[datetime]


class DatasetDistance(Base):
    """How far two data sets are from each other, the smaller id first."""

    __tablename__ = "dataset_distances"

    first_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    second_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    distance: Mapped[float]
    created_at: Mapped[datetime]
