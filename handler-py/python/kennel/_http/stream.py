"""Bodies that come in pieces: generators and async generators, not faster than the client reads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable, Optional

from .. import _native
from .._runtime import state, tasks
from .response import BINARY, TEXT, Pieces, Response, check_status

Failed = Callable[[BaseException], None]

#: Seconds between signs of life: proxies cut off what is silent for a minute or two.
_SILENCE = 15.0


class Pump:
    """Brings the pieces of one answer to its client."""

    def __init__(self, job: _native.Job, response: Response, failed: Failed, log: Failed) -> None:
        self.job = job
        self.response = response
        #: What is done about a failure before the first piece, when there can be an error page still, and after it.
        self.failed = failed
        self.log = log
        self.begun = False
        self.ended = False
        #: Something was sent since the last look.
        self.sent = False
        self.encode: Optional[Callable[[Any], bytes]] = None
        #: What is to be done behind the last piece.
        self.over: Optional[Callable[[], None]] = None

    def start(self) -> None:
        """Sends what there is, and the rest when there is room."""
        body = self.response.body
        if isinstance(body, Pieces):
            self.encode = body.encode
            silence, body = body.silence, body.pieces
            try:
                self._begin(BINARY)
            except BaseException as problem:
                self._broken(problem)
                return
            if self.job.is_head:
                self._whole()
                return
            if tasks.has_loop() and threading.current_thread() is threading.main_thread():
                self._keep_alive(silence)
        if hasattr(body, "__aiter__"):
            tasks.start(self._send_async(body), lambda: self.job.serial, lambda _: None, self._broken)
            return
        pieces = iter(body)
        if threading.current_thread() is threading.main_thread():
            self._send_some(pieces)
        else:
            self._send_all(pieces)

    def _send(self, piece: Any) -> bool:
        """Sends a piece; `True` when another may follow at once."""
        self.sent = True
        if self.encode is not None:
            data, content_type = self.encode(piece), BINARY
        elif isinstance(piece, str):
            data, content_type = piece.encode(), TEXT
        elif isinstance(piece, (bytes, bytearray, memoryview)):
            data, content_type = bytes(piece), BINARY
        else:
            raise TypeError(f"a piece of a body is text or bytes, not {type(piece).__name__}")
        if not self.begun:
            self._begin(content_type)
        return self.job.write(data) if data else self.job.room

    def _begin(self, content_type: str) -> None:
        headers = self.response.headers
        if "content-type" not in headers:
            headers["content-type"] = content_type
        self.job.begin(check_status(self.response.status), headers.lines())
        self.begun = True

    def _keep_alive(self, silence: bytes) -> None:
        """Sends something whenever nothing was sent for a while."""

        def look() -> None:
            if self.ended or self.job.gone:
                return
            if not self.sent and self.job.room:
                self.job.write(silence)
            self.sent = False
            loop.call_later(_SILENCE, look)

        loop = asyncio.get_event_loop()
        loop.call_later(_SILENCE, look)

    def _whole(self) -> None:
        self.ended = True
        if not self.begun:
            self._begin(TEXT)
        self.job.watch(None)
        if self.over is not None:
            self.over()
        self.job.end()

    def _broken(self, problem: BaseException) -> None:
        self.ended = True
        self.job.watch(None)
        if state.cutting and isinstance(problem, asyncio.CancelledError):
            # The hub cuts the response short when this worker has ended, and names the request.
            return
        if self.job.gone:
            # Nobody waits for the rest, so it is no matter how the script took that.
            self.job.abort()
        elif not self.begun:
            self.failed(problem)
        else:
            self.log(problem)
            self.job.abort()

    def _leave(self, pieces: Any) -> None:
        """The client has left: the script learns of it as generators do."""
        self.ended = True
        self.job.watch(None)
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
        self.job.abort()

    def _send_some(self, pieces: Any) -> None:
        """In the loop's thread: sends as long as there is room, and goes on when there is again."""
        job = self.job
        worker = state.worker()

        def go_on() -> None:
            worker.step(job.serial)
            try:
                self._send_some(pieces)
            finally:
                worker.step_end()

        try:
            while not job.gone:
                try:
                    piece = next(pieces)
                except StopIteration:
                    self._whole()
                    return
                if not self._send(piece) and not job.gone:
                    job.watch(go_on)
                    return
            self._leave(pieces)
        except BaseException as problem:
            self._broken(problem)

    def _send_all(self, pieces: Any) -> None:
        """In a thread of the pool, which may wait."""
        try:
            for piece in pieces:
                if not self._send(piece) and not self.job.wait():
                    self._leave(pieces)
                    return
            self._whole()
        except BaseException as problem:
            self._broken(problem)

    async def _send_async(self, pieces: Any) -> None:
        job = self.job
        loop = asyncio.get_running_loop()
        room: Optional[asyncio.Future[None]] = None

        def changed() -> None:
            if room is not None and not room.done():
                room.set_result(None)

        job.watch(changed)
        try:
            async for piece in pieces:
                ready = self._send(piece)
                while not ready and not job.gone:
                    room = loop.create_future()
                    await room
                    ready = job.room
                if job.gone:
                    break
            else:
                self._whole()
                return
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()
            self._leave(None)
        except BaseException as problem:
            self._broken(problem)
