"""One HTTP request as ASGI tells it: the body comes by `receive`, the answer goes by `send`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, BinaryIO, Dict, List, Optional, Tuple

from . import _native, _tasks
from ._response import HTML, TEXT, check_status
from ._spool import PIECE, open_spool

if TYPE_CHECKING:
    from ._asgi import Asgi

Event = Dict[str, Any]

_GONE = "the client has left"


class ClientGone(OSError):
    """What `send` raises once nobody listens any more."""

    def __init__(self) -> None:
        super().__init__(_GONE)


class Exchange:
    """A request and its answer."""

    __slots__ = (
        "_begun",
        "_ended",
        "_file",
        "_head",
        "_job",
        "_left",
        "_received",
        "_scope",
        "_server",
        "_waiters",
        "_watching",
    )

    def __init__(self, server: Asgi, job: _native.Job, scope: Event) -> None:
        self._server = server
        self._job = job
        self._scope: Optional[Event] = scope
        #: Status and headers, from http.response.start until they are sent.
        self._head: Optional[Tuple[int, List[Tuple[bytes, bytes]]]] = None
        #: The answer goes out in pieces; it is complete.
        self._begun = self._ended = False
        #: The body was given whole; until then the file that has it, and how much of that is left.
        self._received = False
        self._file: Optional[BinaryIO] = None
        self._left = 0
        #: Whoever waits for room or for the client's end.
        self._waiters: List[asyncio.Future[None]] = []
        self._watching = False

    def _serial(self) -> int:
        return self._job.serial

    async def run(self, inside: bool) -> None:
        """Calls the application. Whatever becomes of that, the request is answered."""
        server, scope = self._server, self._scope
        self._scope = None
        try:
            await _tasks.in_turns(server.application(scope, self.receive, self.send), self._serial, inside)
            if not self._ended and not self._job.gone:
                raise RuntimeError("the app returned before its answer was complete")
        except BaseException as problem:
            self._failed(problem)
        finally:
            self._finish()
            server.running.pop(self, None)

    def _failed(self, problem: BaseException) -> None:
        job = self._job
        if self._ended:
            # It went on after its answer.
            self._server.log(job.title, problem)
        elif job.gone:
            # Nobody waits for the rest, so it is no matter how the application took that.
            job.abort()
        elif self._begun:
            self._server.log(job.title, problem)
            job.abort()
        else:
            html = self._server.log(job.title, problem)
            if html is None:
                job.respond(500, [("Content-Type", TEXT)], b"500 Internal Server Error\n")
            else:
                job.respond(500, [("Content-Type", HTML)], html.encode())

    def _finish(self) -> None:
        """Nothing more is sent."""
        self._ended = True
        self._close_file()
        if self._watching:
            self._watching = False
            self._job.watch(None)
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
            self._watching = True
            self._job.watch(self._changed)
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    # What the application calls.

    async def receive(self) -> Event:
        """The next part of the body; behind the last one, the client's end."""
        if not self._received and not self._ended:
            return self._part()
        while not self._ended and not self._job.gone:
            await self._change()
        return {"type": "http.disconnect"}

    def _part(self) -> Event:
        if self._file is None:
            spooled = open_spool(self._job)
            if spooled is None:
                self._received = True
                return {"type": "http.request", "body": self._job.body, "more_body": False}
            self._file, self._left = spooled
        part = self._file.read(PIECE)
        self._left -= len(part)
        more = self._left > 0 and bool(part)
        if not more:
            self._received = True
            self._close_file()
        return {"type": "http.request", "body": part, "more_body": more}

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def send(self, event: Event) -> None:
        """Takes the head of the answer, or a piece of its body."""
        job = self._job
        if job.gone:
            raise ClientGone
        kind = event["type"]
        if kind == "http.response.start":
            if self._head is not None or self._begun:
                raise RuntimeError("http.response.start was sent before")
            headers = [(name, value) for name, value in event.get("headers") or ()]
            self._head = check_status(event["status"]), headers
            return
        if kind != "http.response.body":
            raise RuntimeError(f"`{kind}` is no message of an HTTP answer")
        if self._ended:
            raise RuntimeError("the answer is complete already")
        body, more = event.get("body", b""), event.get("more_body", False)
        if not self._begun:
            if self._head is None:
                raise RuntimeError("http.response.start has to be sent before http.response.body")
            status, headers = self._head
            if not more and not (body == b"" and self._is_head_alone(headers)):
                job.respond(status, headers, body)
                self._finish()
                return
            job.begin(status, headers)
            self._begun = True
        ready = job.write(body) if body else job.room
        if not more:
            job.end()
            self._finish()
            return
        while not ready:
            if job.gone:
                raise ClientGone
            await self._change()
            ready = job.room

    def _is_head_alone(self, headers: List[Tuple[bytes, bytes]]) -> bool:
        """An answer to HEAD tells the length of what it leaves out."""
        if not any(name.lower() == b"content-length" for name, _ in headers):
            return False
        return self._job.server_field("METHOD") == "HEAD"
