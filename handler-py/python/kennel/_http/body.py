"""Bodies that are still arriving, for `async def`."""

from __future__ import annotations

import asyncio
from typing import List, Optional

from .. import _native

#: How much is read at once when the script wants all.
PIECE = 64 << 10


async def next_piece(job: _native.Job, most: int) -> bytes:
    """At most so many bytes, as soon as there are some; nothing at the end."""
    piece = job.read_body(most)
    if piece is not None:
        return piece
    loop = asyncio.get_running_loop()
    try:
        while piece is None:
            waiter = loop.create_future()

            def said(waiter: asyncio.Future[None] = waiter) -> None:
                if not waiter.done():
                    waiter.set_result(None)

            job.watch_body(said)
            # It may have come before anybody watched.
            piece = job.read_body(most)
            if piece is None:
                await waiter
                piece = job.read_body(most)
    finally:
        job.watch_body(None)
    return piece


async def receive(job: _native.Job, most: Optional[int]) -> bytes:
    """The next piece, or without `most` all the rest."""
    if most is not None:
        if most < 1:
            raise ValueError("a number of bytes from 1, or none for all the rest")
        return await next_piece(job, most)
    pieces: List[bytes] = []
    while True:
        piece = await next_piece(job, PIECE)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
