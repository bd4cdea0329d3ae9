"""Bodies too large for memory: the hub leaves them in a file, which is its own and goes when the answer is there."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, Tuple, cast

if TYPE_CHECKING:
    from . import _native

#: How much of a body is read at once.
PIECE = 64 << 10


def open_spool(job: _native.Job, path: str) -> Tuple[BinaryIO, int]:
    """Opens such a file, and nothing that somebody may have put into its place. Says how large the body is, too."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0)
    whole = os.fstat(file.fileno()).st_size
    size = job.spooled_size(whole)
    return cast(BinaryIO, io.BufferedReader(file if size == whole else _Beginning(file, size), PIECE)), size


class _Beginning(io.RawIOBase):
    """So many bytes of a file."""

    def __init__(self, file: io.RawIOBase, size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
