"""Archives of images: read within bounds, under names that can be trusted."""

import lzma
import shutil
import sys
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

if sys.version_info >= (3, 14):
    import tarfile
    import zipfile

    from compression.zstd import ZstdError
else:  # the same modules, which know Zstandard
    from backports.zstd import ZstdError, tarfile, zipfile

from models.datasets.data import DataError

MAX_FILES = 2_000_000
"""Members of the largest archive that is unpacked."""

UTF8_NAME = 0x800
"""The flag of a zip member whose name is in UTF-8."""

UNIX = 3
"""The system of a zip member that a tool of Unix or macOS wrote."""

BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    ZstdError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
"""Errors that reading a damaged, encrypted or unusual member can raise."""


def is_zip(file: IO[bytes]) -> bool:
    """Whether an open file is a zip archive."""
    return zipfile.is_zipfile(file)


class Zip:
    """A zip archive whose members are read in place, without unpacking them to a disk.

    Args:
        file: open and seekable.
        max_bytes: how much it may unpack to.

    Raises:
        DataError: no zip archive, too large, or a name that leads out of it or is in an unknown encoding.
    """

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        try:
            self._archive = zipfile.ZipFile(file)
        except BROKEN as error:
            raise DataError(f"is not a readable archive: {error}") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        left = max_bytes
        for member in self._archive.infolist():
            if not member.is_dir() and not member.filename.endswith("\\"):
                left = _within(left - member.file_size, len(self._members), max_bytes)
                self._members[str(_safe(_zip_name(member)))] = member

    @property
    def names(self) -> list[str]:
        """The names of all files."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: it is damaged or encrypted; the message names it.
        """
        try:
            return self._archive.read(self._members[name])
        except BROKEN as error:
            raise DataError(f"cannot be unpacked: {name}: {error}") from None


def unpack_tar(file: IO[bytes], folder: Path, max_bytes: int) -> None:
    """Unpacks a tar archive into an empty folder; links and devices are left out.

    Args:
        file: open; plain, or compressed by gzip, bzip2, xz or zstd.
        folder: where to.
        max_bytes: how much it may unpack to.

    Raises:
        DataError: no tar archive, a damaged member, a name that leads out of the folder, or too much.
    """
    left, count, name = max_bytes, 0, "its first member"
    try:
        with tarfile.open(fileobj=file, mode="r:*") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                name, count = member.name, count + 1
                left = _within(left - member.size, count, max_bytes)
                target = folder / _safe(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None
                with source, target.open("wb") as out:
                    shutil.copyfileobj(source, out)
    except DataError:
        raise
    except BROKEN as error:
        if count == 0:
            raise DataError("is not a zip or tar archive") from None
        raise DataError(f"cannot be unpacked: {name}: {error}") from None


def _within(left: int, count: int, max_bytes: int) -> int:
    if count > MAX_FILES:
        raise DataError(f"has more than {MAX_FILES} files")
    if left < 0:
        raise DataError(
            f"unpacks to more than {max_bytes} bytes; put its folders below the data root instead, "
            "and name them as folder"
        )
    return left


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's name.

    Without the flag for UTF-8, tools of Unix and macOS write it all the same; those of Windows write the code
    page of the machine, which nobody else can tell.
    """
    if member.flag_bits & UTF8_NAME or member.filename.isascii():
        return member.filename
    try:
        if member.create_system != UNIX:
            raise UnicodeError
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        raise DataError(
            f"the name {member.filename!r} is in an encoding that the archive does not tell; "
            "pack it with UTF-8 names, as 7-Zip and macOS do, or give the folders plain names"
        ) from None


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise DataError(f"the name {name!r} leads out of the archive")
    return path
