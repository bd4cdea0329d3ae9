"""One WebSocket as ASGI tells it. Whether there will be one, is the application's to say."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Dict, List, Optional, Tuple

from .. import _native
from .._http.response import TEXT, check_status
from .._runtime import log, state, traceback
from .http import ClientGone

if TYPE_CHECKING:
    from .server import Asgi

Event = Dict[str, Any]


class Socket:
    """A handshake, and the conversation that comes of it."""

    def __init__(self, server: Asgi, wire: _native.Wire, number: int, title: str, about: Dict[str, Any]) -> None:
        self._server = server
        self._wire = wire
        self._number = number
        self.title = title
        self._about = about
        #: The application's call, once it has begun.
        self.steps: Optional[_native.Steps] = None
        self._greeted = False
        #: The application has accepted, or refused.
        self._decided = False
        #: Status and headers of a refusal in words, and the body so far.
        self._denial: Optional[Tuple[int, List[Tuple[bytes, bytes]]]] = None
        self._words: List[bytes] = []
        #: Messages that the application did not ask for yet, and the job of the one that it works on.
        self._messages: Deque[Tuple[int, Any]] = deque()
        self._serial = 0
        #: Code and reason of the end, once it has come, and its job.
        self._end: Optional[Tuple[int, str]] = None
        self._end_serial = 0
        self._over = False
        self._waiters: List[asyncio.Future[None]] = []

    # What the hub says.

    def take(self, serial: int, message: Any) -> None:
        """A message of the client's."""
        if self._over:
            self._server.worker.done(serial)
        else:
            self._messages.append((serial, message))
            self._wake()

    def ended(self, serial: int, code: int, reason: str) -> None:
        """The connection has ended."""
        self._wire._ended()
        self._end = code, reason
        if self._over:
            self._server.worker.done(serial)
        else:
            self._end_serial = serial
            self._work_on(self._serial)
            self._wake()

    def taken_away(self) -> None:
        """The connection is another worker's, which will tell its client to begin anew."""
        self._wire._ended()
        self._end = 1012, "service restart"
        for serial, _ in self._messages:
            self._server.worker.skip(serial)
        self._messages.clear()
        self._wake()

    # The application's life.

    def over(self, problem: Optional[BaseException]) -> None:
        """The application's call has ended. Whatever became of it, the client gets its answer and the connection an
        end."""
        is_undecided = problem is None and not self._decided and self._end is None
        if is_undecided and self._denial is not None:
            problem = RuntimeError("the app returned before its answer to the handshake was complete")
        if problem is None and is_undecided:
            # To say nothing is to close before accepting.
            self._refuse(403, [], b"")
        elif problem is None:
            self._wire.close(1000, "")
        else:
            self._failed(problem)
        self._finish()
        self._server.ended(self)

    def _failed(self, problem: BaseException) -> None:
        if state.cutting and isinstance(problem, asyncio.CancelledError):
            self._wire.close(1012, "service restart")
            return
        if self._end is not None:
            # Most applications end by an exception when their client does, and mean nothing by it.
            failure = traceback.describe(problem)
            log.write("debug", f"{self.title} ended with: {failure}")
            return
        # The hub knows what a job is about. The application may fail when it has none.
        self._server.log(self.title, problem, None if self._serial else self._about)
        if self._decided:
            self._wire.close(1011, "internal error")
        else:
            self._refuse(500, [(b"content-type", TEXT.encode())], b"500 Internal Server Error\n")

    def _finish(self) -> None:
        worker = self._server.worker
        self._over = True
        for serial in [self._serial, *(serial for serial, _ in self._messages), self._end_serial]:
            if serial:
                worker.done(serial)
        self._messages.clear()
        self._serial = self._end_serial = 0
        self._wake()

    def _refuse(self, status: int, headers: List[Tuple[bytes, bytes]], body: bytes) -> None:
        self._decided = True
        self._wire._refuse(status, headers, body)
        # The hub has nothing more to say of it.
        self._server.sockets.pop(self._number, None)
        self._end = 1006, ""
        self._wake()

    def _work_on(self, serial: int) -> None:
        """From its next step on, the application is at work for this job, or for the end."""
        self._serial = serial
        if self.steps is not None:
            self.steps.serial = serial or self._end_serial

    # Waiting.

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # What the application calls.

    async def receive(self) -> Event:
        """The handshake, then message after message, then the end."""
        if not self._greeted:
            self._greeted = True
            return {"type": "websocket.connect"}
        if self._serial:
            # Whoever asks for the next message has done with the last one.
            self._server.worker.done(self._serial)
            self._work_on(0)
        while not self._messages:
            if self._end is not None or self._over:
                code, reason = self._end or (1006, "")
                return {"type": "websocket.disconnect", "code": code, "reason": reason}
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        serial, message = self._messages.popleft()
        self._work_on(serial)
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    async def send(self, event: Event) -> None:
        """Takes the decision about the handshake, then messages, then the close."""
        if self._end is not None:
            raise ClientGone
        kind = event["type"]
        if not self._decided:
            self._decide(kind, event)
        elif kind == "websocket.send":
            text = event.get("text")
            message = text if text is not None else event.get("bytes")
            if message is None:
                raise ValueError("websocket.send has either `text` or `bytes`")
            if not self._wire.send(message if isinstance(message, str) else bytes(message)):
                raise RuntimeError("the app has closed this connection")
        elif kind == "websocket.close":
            code, reason = event.get("code"), event.get("reason")
            if not self._wire.close(1000 if code is None else code, reason or ""):
                raise RuntimeError("the app has closed this connection already")
        else:
            raise RuntimeError(f"`{kind}` is no message of an open WebSocket")

    def _decide(self, kind: str, event: Event) -> None:
        if kind == "websocket.http.response.body" and self._denial is not None:
            self._words.append(event.get("body", b""))
            if not event.get("more_body", False):
                self._refuse(*self._denial, b"".join(self._words))
        elif self._denial is not None:
            raise RuntimeError(f"`{kind}` cannot follow websocket.http.response.start")
        elif kind == "websocket.accept":
            headers = [(name, value) for name, value in event.get("headers") or ()]
            self._wire._accept(event.get("subprotocol") or "", headers)
            self._decided = True
        elif kind == "websocket.close":
            self._refuse(403, [], b"")
        elif kind == "websocket.http.response.start":
            headers = [(name, value) for name, value in event.get("headers") or ()]
            self._denial = check_status(event["status"]), headers
        else:
            raise RuntimeError(f"`{kind}` cannot be sent before websocket.accept")
