"""The tables of data sets and of the distances between them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, OneOf
from app.naming import Labelled
from app.owners import Owned
from models.datasets.layout import TEST_SHARE


class Source(StrEnum):
    """The place where the images of a data set are."""

    BUILTIN = "builtin"
    """The images come with the service's own packages."""
    TORCHVISION = "torchvision"
    """The images lie below the data root, in the form that torchvision reads."""
    UPLOAD = "upload"
    """The images are in the file store; they came in an archive that a client sent."""
    FOLDER = "folder"
    """The images lie in a folder below the data root, one folder a class."""
    FACTS = "facts"
    """There are no images here: only their number and size are known."""


class Dataset(Labelled, Owned, Base):
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
    """The key of an upload's images in the file store; null for other sources."""
    folder: Mapped[str | None]
    """The path of a registered folder, below the data root; null for other sources."""
    licence: Mapped[str | None]
    """The terms under which the images may be used, as whoever added them wrote; exports carry it."""
    test_share: Mapped[float] = mapped_column(default=TEST_SHARE, server_default=str(TEST_SHARE))
    """The share of each class that is the test split where the images came without one."""
    digest: Mapped[str | None]
    """The digest of all images with their splits and classes; null where there are none."""
    account: Mapped[dict[str, Any] | None]
    """The account of reading the images: counts, what was skipped and converted, warnings, statistics."""
    distances_job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    """The job that last measured its distances to the others; null before the first."""
    created_at: Mapped[datetime]


class DatasetDistance(Base):
    """The distance of two data sets from each other, the smaller id first."""

    __tablename__ = "dataset_distances"

    first_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    second_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    distance: Mapped[float]
    created_at: Mapped[datetime]
