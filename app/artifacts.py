"""Files by key, through fsspec: a local folder by default, `s3://…` and others by URL."""

import io
import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import fsspec
import torch


class Artifacts:
    """A file store.

    Args:
        url: where; a plain path is a local folder.
    """

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)

    def put(self, key: str, content: bytes) -> None:
        """Writes a file whole or not at all: what stood under the key stays until the new is complete."""
        path = self._path(key)
        self._files.makedirs(posixpath.dirname(path), exist_ok=True)
        draft = f"{path}.{uuid4().hex}.part"
        try:
            self._files.pipe_file(draft, content)
            self._files.mv(draft, path)
        except BaseException:
            if self._files.exists(draft):
                self._files.rm_file(draft)
            raise

    def get(self, key: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: there is none under the key.
        """
        content: bytes = self._files.cat_file(self._path(key))
        return content

    def delete(self, key: str) -> None:
        """Removes a file with its drafts, or all files below a key; nothing happens if there are none."""
        path = self._path(key)
        for draft in self._files.glob(f"{path}.*.part"):  # of a writer that was killed
            self._files.rm_file(draft)
        if self._files.exists(path):
            self._files.rm(path, recursive=True)

    def files(self) -> Iterator[tuple[str, datetime]]:
        """The keys of all files, drafts too, and when each was last written."""
        if not self._files.exists(self._root):
            return
        for path, about in self._files.find(self._root, detail=True, withdirs=False).items():
            written = about.get("LastModified") or about["mtime"]
            if not isinstance(written, datetime):
                written = datetime.fromtimestamp(written, UTC)
            yield path.removeprefix(self._root).lstrip("/"), written

    def put_tensors(self, key: str, value: Any) -> None:
        """Writes tensors and plain values in dicts and lists."""
        buffer = io.BytesIO()
        torch.save(value, buffer)
        self.put(key, buffer.getvalue())

    def get_tensors(self, key: str) -> Any:
        """Reads what `put_tensors` wrote, onto the CPU; no code in the file is run."""
        return torch.load(io.BytesIO(self.get(key)), map_location="cpu", weights_only=True)

    def _path(self, key: str) -> str:
        return posixpath.join(self._root, key)
