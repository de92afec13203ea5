"""What a worker process does with the memory that tensors free.

The C library gives every large block back to the system at once, and the next tensor of that size pays
for fresh pages, in every layer of every step.
"""

import ctypes
from functools import cache

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of two parameters of glibc's `mallopt`."""

LARGEST_KEPT = (1 << 31) - 1
"""Bytes of the largest block that is kept."""


def keep_freed() -> None:
    """Makes the process keep freed memory for the next tensor. Does nothing without glibc."""
    library = _glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def give_back() -> None:
    """Gives all free memory back to the system; for between two jobs. Does nothing without glibc."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def of_gpu() -> int | None:
    """Bytes in use on this process's GPU; `None` without one, or before anything has used it."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    free, total = torch.cuda.mem_get_info()
    return total - free
