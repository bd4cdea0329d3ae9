"""Bodies too large for memory: the hub leaves them in a file, which is its own and goes when the answer is there."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, Optional, Tuple

if TYPE_CHECKING:
    from . import _native

#: How much of a body is read at once.
PIECE = 64 << 10


def open_spool(job: _native.Job) -> Optional[Tuple[BinaryIO, int]]:
    """The file of a body and how many of its bytes are the body; `None` when the body is in memory."""
    found = job.open_spool()
    if found is None:
        return None
    descriptor, size = found
    file = io.FileIO(descriptor, "rb")
    body: io.RawIOBase = file if os.fstat(descriptor).st_size == size else _Beginning(file, size)
    return io.BufferedReader(body, PIECE), size


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
