"""One HTTP request as ASGI tells it: the body comes by `receive`, the answer goes by `send`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from .. import _native
from .._http.body import PIECE, next_piece
from .._http.response import BODILESS, HTML, TEXT, check_status
from .._runtime import state

if TYPE_CHECKING:
    from .server import Asgi

Event = Dict[str, Any]

_GONE = "the client has left"


class ClientGone(OSError):
    """What `send` raises once nobody listens any more."""

    def __init__(self) -> None:
        super().__init__(_GONE)


class Exchange(_native.Exchange):
    """A request and its answer."""

    __slots__ = ("_got", "_received", "_server", "_waiters", "_watching")

    def __init__(self, server: Asgi, job: _native.Job) -> None:
        self._server = server
        #: The body was given whole; until then how much of it.
        self._received = False
        self._got = 0
        #: Whoever waits for room or for the client's end.
        self._waiters: List[asyncio.Future[None]] = []
        self._watching = False

    def over(self, problem: Optional[BaseException]) -> None:
        """The application's call has ended. Whatever became of it, the request is answered."""
        if problem is None and not self.ended:
            if self.job.gone:
                # An app may return without a word once its client has left.
                self.job.abort()
            else:
                problem = RuntimeError("the app returned before its answer was complete")
        if problem is not None:
            self._failed(problem)
        if self.held or not self.ended:
            self.finish()
        self._server.ended(self)

    @property
    def title(self) -> str:
        """For messages."""
        return f"the application's work behind the response to {self.job.title}"

    def _failed(self, problem: BaseException) -> None:
        job = self.job
        if state.cutting and isinstance(problem, asyncio.CancelledError):
            # The hub answers when this worker has ended, and names the request.
            return
        if self.ended:
            # It went on after its answer.
            self._server.log(job.title, problem)
        elif job.gone:
            # Nobody waits for the rest, so it is no matter how the application took that.
            job.abort()
        elif self.begun:
            self._server.log(job.title, problem)
            job.abort()
        else:
            html = self._server.log(job.title, problem)
            if html is None:
                job.respond(500, [("Content-Type", TEXT)], b"500 Internal Server Error\n")
            else:
                job.respond(500, [("Content-Type", HTML)], html.encode())

    def finish(self) -> None:
        """Nothing more is sent."""
        self.ended = True
        if not self.held:
            return
        self.held = False
        if self._watching:
            self._watching = False
            self.job.watch(None)
            self._changed()

    # Waiting.

    def _changed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        """Waits until there is room, or the client has left, or the answer is complete."""
        if not self._watching:
            self._watching = self.held = True
            self.job.watch(self._changed)
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    # What the application calls.

    async def receive(self) -> Event:
        """The next part of the body; behind the last one, the client's end."""
        if not self._received and not self.ended:
            if not self._got:
                whole = self.job.small_body()
                if whole is not None:
                    self._received = True
                    return {"type": "http.request", "body": whole, "more_body": False}
            try:
                piece = self.job.read_body(PIECE)
                if piece is None:
                    piece = await next_piece(self.job, PIECE)
            except _native.Aborted:
                self._received = True
                return {"type": "http.disconnect"}
            return self._part(piece)
        while not self.ended and not self.job.gone:
            await self._change()
        return {"type": "http.disconnect"}

    def _part(self, piece: bytes) -> Event:
        self._got += len(piece)
        self._received = not piece or self._got == self.job.body_size
        return {"type": "http.request", "body": piece, "more_body": not self._received}

    async def send_rest(self, event: Event) -> None:
        """Takes the head of the answer, or a piece of its body, where that is not all of it."""
        job = self.job
        if job.gone:
            raise ClientGone
        kind = event["type"]
        if kind == "http.response.start":
            if self.head is not None or self.begun:
                raise RuntimeError("http.response.start was sent before")
            headers = [(name, value) for name, value in event.get("headers") or ()]
            self.head = check_status(event["status"]), headers
            return
        if kind != "http.response.body":
            raise RuntimeError(f"`{kind}` is no message of an HTTP answer")
        if self.ended:
            raise RuntimeError("the answer is complete already")
        body, more = event.get("body", b""), event.get("more_body", False)
        if not self.begun:
            if self.head is None:
                raise RuntimeError("http.response.start has to be sent before http.response.body")
            status, headers = self.head
            if not more and _is_as_announced(status, headers, body):
                job.respond(status, headers, body)
                self.finish()
                return
            # What was announced is what the client is told: the hub leaves out what is too much, and ends the
            # connection behind what is too little. An answer to HEAD tells the length of what it leaves out.
            job.begin(status, headers)
            self.begun = True
        ready = job.write(body) if body else job.room
        if not more:
            job.end()
            self.finish()
            return
        while not ready:
            if job.gone:
                raise ClientGone
            await self._change()
            ready = job.room


def _is_as_announced(status: int, headers: List[Tuple[bytes, bytes]], body: bytes) -> bool:
    """Whether a whole body has the length that its Content-Length says, if there is one."""
    announced = [value for name, value in headers if name.lower() == b"content-length"]
    return status in BODILESS or all(value.isdigit() and int(value) == len(body) for value in announced)
