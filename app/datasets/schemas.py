"""Data sets as clients send and see them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.datasets.tables import Source
from app.naming import Body, Note, Share, Tags
from models.datasets.layout import TEST_SHARE

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="Lower case letters, digits, '.', '_' and '-', at most 64.",
    ),
]
ImageSize = Annotated[
    int | None,
    Field(ge=2, le=1024, description="Side in pixels to which images are brought; needed if they differ."),
]


TestShare = Annotated[
    float,
    Field(
        ge=0.01, le=0.9, description="Share of each class to test on, where there is no test split already."
    ),
]
Licence = Annotated[
    str | None,
    Field(
        min_length=1, max_length=200, description="Terms of use of the images; exports of networks carry it."
    ),
]


class DatasetIn(Body):
    """A data set by name, or by a folder of the server."""

    name: Name
    download: bool = Field(False, description="Lets torchvision fetch the images if they are not there.")
    folder: str | None = Field(
        None,
        max_length=500,
        description="A folder below the data root with train/<class>/… and test/<class>/…",
    )
    image_size: ImageSize = None
    test_share: TestShare = TEST_SHARE
    licence: Licence = None
    note: Note | None = None
    tags: Tags = []


class DatasetUpload(BaseModel):
    """The fields beside an uploaded archive."""

    name: Name
    image_size: ImageSize = None
    test_share: TestShare = TEST_SHARE
    licence: Licence = None
    note: Note | None = None
    tags: Tags = []


class DatasetRelabel(Share):
    """New labels of a data set, which always has a name."""

    name: Name = "…"


class FilesOut(BaseModel):
    """Files that were treated alike."""

    count: int
    names: list[str] = Field(description="The first five.")


class AccountOut(BaseModel):
    """The account of reading the images of a data set."""

    counts: dict[str, dict[str, int]] = Field(description="Images by split and class.")
    mean: list[float] = Field(description="Of the training images, by channel, 0 to 1.")
    deviation: list[float] = Field(description="Of the training images, by channel.")
    skipped: dict[str, FilesOut] = Field(description="What was left out, by reason.")
    converted: dict[str, FilesOut] = Field(description="What was changed in reading, by what was done.")
    warnings: list[str] = Field(description="What was chosen or doubted.")
    value_range: tuple[float, float] | None = Field(
        None, description="Of images of more than 8 bits, the values that became black and white."
    )


class DatasetOut(BaseModel):
    """A data set."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    source: Source = Field(description="`facts` where only numbers are known and the images are not here.")
    channels: int
    image_size: int = Field(description="Height and width in pixels.")
    classes: int
    class_names: list[str]
    train_count: int
    test_count: int
    licence: str | None
    note: str | None
    tags: list[str]
    shared: bool
    digest: str | None = Field(description="Equal for equal images in the same splits and classes.")
    account: AccountOut | None = Field(description="`null` where there are no images.")
    created_at: datetime


class ImageOut(BaseModel):
    """One image of a data set, as the network sees it."""

    split: str
    class_name: str
    png: str = Field(description="A PNG file, base64.")


class ImagesOut(BaseModel):
    """Some images of a data set."""

    items: list[ImageOut]


class NeighborOut(BaseModel):
    """Another data set and how far it is."""

    dataset_id: str
    name: str
    distance: float | None = Field(description="OTDD on 16 x 16 pixels; `null` if it cannot be measured.")
    reason: str | None = Field(description="Why it cannot be measured.")


class NeighborsOut(BaseModel):
    """The known data sets by distance, nearest first."""

    dataset_id: str
    items: list[NeighborOut]
