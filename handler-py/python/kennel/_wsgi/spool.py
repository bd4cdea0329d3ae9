"""Bodies too large for memory: the hub leaves them in a file, which is its own and goes when the answer is there."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, Optional, Tuple

if TYPE_CHECKING:
    from .. import _native

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
    return _Body(body, size), size


class _Body(io.BufferedReader):
    """A body in a file. Memory is reserved for what is left of it, however much is asked for."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw, PIECE)
        self._size = size

    def _bounded(self, size: Optional[int]) -> Optional[int]:
        return size if size is None or size <= PIECE else min(size, max(self._size - self.tell(), 0))

    def read(self, size: Optional[int] = -1) -> bytes:
        return super().read(self._bounded(size))

    def read1(self, size: int = -1) -> bytes:
        return super().read1(self._bounded(size) or 0)


class _Beginning(io.RawIOBase):
    """So many bytes of a file."""

    def __init__(self, file: io.RawIOBase, size: int) -> None:
        self._file = file
        self._size = self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def tell(self) -> int:
        return self._size - self._left

    def close(self) -> None:
        self._file.close()
        super().close()
