"""Bodies too large for memory: the hub leaves them in a file, which is its own and goes when the answer is there."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, Optional, Tuple, cast

if TYPE_CHECKING:
    from . import _native

#: How much of a body is read at once.
PIECE = 64 << 10


def open_spool(job: _native.Job) -> Optional[Tuple[BinaryIO, int]]:
    """Opens the file that has a job's body, if one does. Says how large the body is, too."""
    found = job.open_spool()
    if found is None:
        return None
    descriptor, size = found
    file = os.fdopen(descriptor, "rb", buffering=0)
    whole = os.fstat(descriptor).st_size == size
    return cast(BinaryIO, io.BufferedReader(file if whole else _Beginning(file, size), PIECE)), size


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
