"""Folders of images on this side: how they are sent, and what they are called."""

import zipfile
from pathlib import Path

from vgae_nas_client.flows import archive_members

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


def zipped(folder: Path, into: Path) -> Path:
    """An archive of a folder's files; images are packed already, so that they are only put together.

    Raises:
        FileNotFoundError: the folder has no files.
    """
    count = 0
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for path, name in archive_members(folder):
            archive.write(path, name)
            count += 1
    if not count:
        raise FileNotFoundError(f"there is no file in {folder}")
    return into


def name_of(path: Path) -> str:
    """A name that the service takes for a data set, from that of its folder or archive."""
    name = path.resolve().name.lower()
    while Path(name).suffix in ARCHIVES:
        name = Path(name).stem
    plain = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name
    )
    return plain.strip("._-")[:64] or "images"
