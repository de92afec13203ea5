"""Registering data sets and reading their images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import database, naming, owners
from app.artifacts import Artifacts
from app.database import new_id, now, one_at_a_time
from app.datasets import reading
from app.datasets.reading import Read
from app.datasets.schemas import DatasetIn, DatasetRelabel, DatasetUpload
from app.datasets.tables import Dataset, DatasetDistance, Source
from app.problems import Conflict, InvalidRequest, NotFound
from app.settings import Settings
from models.datasets.account import differences
from models.datasets.data import DataError, ImageData
from models.datasets.sources import KNOWN_DATASETS, load_folder, load_named, resident, stored

PREFIX = "ds"

_KNOWN_TO_ALL = (Source.BUILTIN, Source.TORCHVISION)
"""Sources of images that are nobody's own."""


def get(session: Session, dataset_id: str, field: str | None = None) -> Dataset:
    """A data set by id.

    Args:
        session: where to look.
        dataset_id: its id.
        field: the field of a request's body that holds the id; `None` if it stands in the path.

    Raises:
        NotFound: there is none, and the id stands in the path.
        InvalidRequest: there is none, and the id stands in the body.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        text = f"there is no dataset {dataset_id!r}"
        raise NotFound(text) if field is None else InvalidRequest.of(field, text)
    return dataset


def require_images(dataset: Dataset, field: str) -> None:
    """Refuses a data set of which only facts are known.

    Raises:
        InvalidRequest: naming the field that holds its id.
    """
    if dataset.source is Source.FACTS:
        raise InvalidRequest.of(
            field, f"the images of {dataset.name!r} are not here; add them by POST /v1/datasets first"
        )


def names(session: Session) -> dict[str, str]:
    """The names of data sets by id, in their order."""
    return dict(session.execute(select(Dataset.id, Dataset.name).order_by(Dataset.name)).all())


def listing(tag: str | None = None) -> Select[*tuple[Any, ...]]:
    """The query for data sets."""
    return naming.tagged(select(Dataset), Dataset.labels, tag)


def relabel(session: Session, dataset_id: str, request: DatasetRelabel) -> Dataset:
    """Changes name, note and tags; what is known by its name keeps that.

    Raises:
        NotFound: there is none.
        InvalidRequest: the name is by which images or facts are found, or that of a known data set.
        Conflict: the name is taken.
    """
    dataset = get(session, dataset_id)
    if "name" in request.model_fields_set and request.name != dataset.name:
        if dataset.source not in (Source.UPLOAD, Source.FOLDER):
            raise InvalidRequest.of("name", f"stays {dataset.name!r}: its images are found by it")
        if {dataset.name, request.name} & set(KNOWN_DATASETS):
            raise InvalidRequest.of("name", "of a known data set stands for its images alone")
    naming.relabel(session, dataset, request)
    return dataset


def register(session: Session, request: DatasetIn, settings: Settings, artifacts: Artifacts) -> Dataset:
    """A data set by name, or by a folder below the data root; an existing name gives the same one.

    Raises:
        InvalidRequest: an unknown name, or images that cannot be read.
        Conflict: the name is taken by other images.
    """
    existing = _by_name(session, request.name)
    source = _source(request)
    if existing is not None and existing.source is not Source.FACTS:
        if existing.source != source or (source is Source.FOLDER and existing.folder != request.folder):
            raise Conflict(f"the name {request.name!r} is taken by dataset {existing.id}; choose another")
        if request.image_size is not None and request.image_size != existing.image_size:
            raise Conflict(
                f"dataset {existing.id} of the name {request.name!r} has images of {existing.image_size} "
                f"pixels, not {request.image_size}; choose another name for another size"
            )
        for field in ("test_share", "licence"):
            asked, kept = getattr(request, field), getattr(existing, field)
            if field in request.model_fields_set and asked != kept:
                raise Conflict(
                    f"dataset {existing.id} of the name {request.name!r} has the {field} {kept!r}, not "
                    f"{asked!r}; choose another name"
                )
        if source is Source.FOLDER:
            session.commit()
            _require_unchanged(existing, _read(request, existing.test_share, settings, artifacts))
        return existing
    session.commit()  # reading images takes a while, and holds no lock
    images = _read(request, request.test_share, settings, artifacts)
    if source is Source.FOLDER:
        _require_known_facts(request.name, images, "folder")
    return _save(session, existing, request, source, images, folder=request.folder)


def upload(
    session: Session, request: DatasetUpload, file: Any, settings: Settings, artifacts: Artifacts
) -> Dataset:
    """A data set from an archive of train/<class>/… and test/<class>/… images.

    Raises:
        InvalidRequest: an archive that cannot be read, naming what is wrong in it.
        Conflict: the name is taken.
    """
    existing = _by_name(session, request.name)
    if existing is not None and existing.source is not Source.FACTS:
        raise Conflict(f"the name {request.name!r} is taken by dataset {existing.id}; choose another")
    session.commit()
    key = f"datasets/{new_id('img')}.pt"
    try:
        images = reading.archive(file, request.image_size, request.test_share, key, settings, artifacts)
    except DataError as error:
        raise InvalidRequest.of("archive", str(error)) from None
    try:
        _require_known_facts(request.name, images, "archive")
        return _save(session, existing, request, Source.UPLOAD, images, artifact_key=key)
    except BaseException:
        artifacts.delete(key)
        raise


def delete(session: Session, dataset_id: str, artifacts: Artifacts) -> None:
    """Removes a data set that nothing refers to.

    Raises:
        NotFound: there is none.
        Conflict: something needs it; the message says what.
    """
    dataset = get(session, dataset_id)
    key, digest = dataset.artifact_key, dataset.digest
    database.delete(session, dataset)
    session.commit()
    if key is not None:
        artifacts.delete(key)
    twin = session.scalars(select(Dataset).where(Dataset.digest == digest).limit(1)).first()
    if digest is not None and twin is None:
        reading.delete_profile(digest, artifacts)


def ensure_facts(session: Session, name: str) -> Dataset:
    """The data set of a known name, made from its facts alone if it is not here yet."""
    existing = _by_name(session, name)
    if existing is None:
        one_at_a_time(session, f"data set {name}")
        existing = _by_name(session, name)  # of whoever held the lock before
    if existing is not None:
        return existing
    with owners.acting(None):  # known to all
        dataset = facts(name)
        session.add(dataset)
        session.flush()
    return dataset


def facts(name: str) -> Dataset:
    """A known data set by its facts alone, not yet added to a session."""
    known = KNOWN_DATASETS[name]
    return Dataset(
        id=new_id(PREFIX),
        name=name,
        source=Source.FACTS,
        channels=known.channels,
        image_size=known.image_size,
        classes=known.classes,
        class_names=[],
        train_count=known.train_count,
        test_count=known.test_count,
        created_at=now(),
    )


def known(session: Session, name: str, field: str) -> Dataset:
    """The data set of a name that is here, or known by its facts.

    Raises:
        InvalidRequest: there is none; the message names `field`.
    """
    if _by_name(session, name) is None and name not in KNOWN_DATASETS:
        raise InvalidRequest.of(
            field, f"there is no data set {name!r}; register it, or take one of {', '.join(KNOWN_DATASETS)}"
        )
    return ensure_facts(session, name)


def load(dataset: Dataset, settings: Settings, artifacts: Artifacts) -> ImageData:
    """A data set's images.

    Raises:
        DataError: they are no longer where they were.
    """
    if dataset.source is Source.UPLOAD:
        assert dataset.artifact_key is not None
        tensors, classes = artifacts.get_tensors(dataset.artifact_key), tuple(dataset.class_names)
        if dataset.account is None:  # of before accounts were kept
            return resident(**tensors, classes=classes)
        return stored({**dataset.account, "digest": dataset.digest}, classes, **tensors)
    if dataset.source is Source.FOLDER:
        assert dataset.folder is not None
        folder = below(settings.data_root, dataset.folder)
        images = load_folder(folder, dataset.image_size, settings.resident_bytes, dataset.test_share)
        changed = _change(dataset, images.classes, images.account.digest, images.account.counts)
        if changed is not None:
            raise DataError(changed)
        return images
    return load_named(dataset.name, settings.data_root)


def _change(
    dataset: Dataset, classes: Sequence[str], digest: str, counts: dict[str, dict[str, int]]
) -> str | None:
    """A sentence on what changed in a folder since it was registered; `None` if nothing did."""
    if dataset.account is None:  # registered before accounts were kept
        if dataset.class_names == list(classes):
            return None
        what = f"its classes were {dataset.class_names[:5]} and are {list(classes)[:5]}"
    elif dataset.digest == digest:
        return None
    else:
        what = differences(dataset.account["counts"], counts)
    return (
        f"the folder {dataset.folder!r} has changed since it was registered as {dataset.name!r}: {what}; "
        "register it under a new name"
    )


def _require_unchanged(dataset: Dataset, images: Read) -> None:
    changed = _change(dataset, images.classes, images.digest, images.account["counts"])
    if changed is not None:
        raise Conflict(changed)


def _require_known_facts(name: str, images: Read, field: str) -> None:
    """Refuses other images under the name of a known data set, whose published results they would inherit.

    Raises:
        InvalidRequest: the counts or classes are not those of the known data set; names the field `name`.
    """
    known = KNOWN_DATASETS.get(name)
    if known is None:
        return
    expected = (known.train_count, known.test_count, known.classes)
    if (images.train_count, images.test_count, len(images.classes)) != expected:
        raise InvalidRequest.of(
            "name",
            f"{name!r} is a known data set of {known.train_count} training and {known.test_count} test "
            f"images in {known.classes} classes; this {field} has {images.train_count}, {images.test_count} "
            f"and {len(images.classes)}, so it needs a name of its own",
        )


def _source(request: DatasetIn) -> Source:
    if request.folder is not None:
        return Source.FOLDER
    if request.name not in KNOWN_DATASETS:
        names = ", ".join(KNOWN_DATASETS)
        raise InvalidRequest.of(
            "name",
            f"unknown data set {request.name!r}; must be one of {names}, or come with a folder or an archive",
        )
    return Source.BUILTIN if request.name == "digits" else Source.TORCHVISION


def _read(request: DatasetIn, test_share: float, settings: Settings, artifacts: Artifacts) -> Read:
    try:
        if request.folder is not None:
            folder = below(settings.data_root, request.folder)
            return reading.folder(folder, request.image_size, test_share, settings, artifacts)
        return reading.named(request.name, request.download, settings, artifacts)
    except DataError as error:
        raise InvalidRequest.of("folder" if request.folder is not None else "name", str(error)) from None


def below(root: Path, name: str) -> Path:
    """The path of a file or folder below the data root.

    Raises:
        DataError: the name leads out of it.
    """
    try:
        path = (root / name).resolve()
        path.exists()
    except (OSError, ValueError) as error:  # too long, or a character that no name can have
        raise DataError(f"is no possible path: {getattr(error, 'strerror', None) or error}") from None
    if not path.is_relative_to(root.resolve()):
        raise DataError("must lie below the data root")
    return path


def _by_name(session: Session, name: str) -> Dataset | None:
    return session.scalars(select(Dataset).where(Dataset.name == name)).one_or_none()


def _save(
    session: Session,
    existing: Dataset | None,
    request: DatasetIn | DatasetUpload,
    source: Source,
    images: Read,
    artifact_key: str | None = None,
    folder: str | None = None,
) -> Dataset:
    dataset = existing or Dataset(id=new_id(PREFIX), name=request.name, created_at=now())
    dataset.source, dataset.artifact_key, dataset.folder = source, artifact_key, folder
    dataset.channels, dataset.image_size = images.channels, images.image_size
    dataset.classes, dataset.class_names = len(images.classes), list(images.classes)
    dataset.train_count, dataset.test_count = images.train_count, images.test_count
    dataset.digest, dataset.account = images.digest, images.account
    dataset.licence, dataset.test_share = request.licence, request.test_share
    dataset.note, dataset.labels = request.note, request.tags or None
    session.add(dataset)
    if existing is not None:  # its distances were those of the profile that ships
        ours = (DatasetDistance.first_id == existing.id) | (DatasetDistance.second_id == existing.id)
        session.execute(sql_delete(DatasetDistance).where(ours))
    try:
        with owners.acting(None if source in _KNOWN_TO_ALL else owners.caller()):
            session.commit()
    except IntegrityError:
        session.rollback()
        raise Conflict(f"the name {request.name!r} was taken meanwhile; choose another") from None
    return dataset
