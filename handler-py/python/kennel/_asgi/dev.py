"""ASGI under `kennel dev`: the browser shows the error that a framework has made a bare 500 of.

Starlette answers with 500 and raises behind that; others log the exception and answer. So such an answer waits until
the application has ended, and a browser that wants a page gets the one with the error.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from .. import _native
from .._http.response import HTML
from .._runtime import log
from .._serve import error_page
from .http import Event, Exchange

if TYPE_CHECKING:
    from .server import Asgi

#: A longer answer is the application's own page about the error.
LARGE = 8 << 10


def run_shown(server: Asgi, job: _native.Job, scope: Dict[str, Any]) -> None:
    """Runs a request whose errors are shown."""
    exchange = Shown(server, job)
    exchange.wants_page = any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
    token = log.noticed.set(exchange.noticed)
    try:
        server._run(exchange, scope, job.serial)
    finally:
        log.noticed.reset(token)


class Shown(Exchange):
    """A request whose answer of 500 is held back until the application has ended."""

    __slots__ = ("_kept", "_size", "noticed", "wants_page")

    def __init__(self, server: Asgi, job: _native.Job) -> None:
        super().__init__(server, job)
        self.wants_page = False
        #: What was logged meanwhile.
        self.noticed: List[BaseException] = []
        self._kept: Optional[List[Event]] = None
        self._size = 0

    async def send(self, event: Event) -> None:
        """Takes the head of the answer, or a piece of its body."""
        if self._kept is None:
            is_head = event["type"] == "http.response.start" and self.head is None and not self.begun
            if self.wants_page and is_head and not self.ended and event.get("status", 0) >= 500:
                self._kept = [event]
            else:
                await super().send(event)
            return
        self._kept.append(event)
        self._size += len(event.get("body", b""))
        if event.get("more_body") or self._size > LARGE:
            await self._let_go()

    async def receive(self) -> Event:
        """The next part of the body. Who waits for the client's end has answered."""
        await self._let_go()
        return await super().receive()

    async def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        for event in kept or ():
            await super().send(event)

    def over(self, problem: Optional[BaseException]) -> None:
        """The application's call has ended."""
        kept, self._kept = self._kept, None
        if kept is not None and problem is None and self.noticed:
            # It is in the log already.
            self.job.respond(500, [("Content-Type", HTML)], error_page.of_exception(self.job.title, self.noticed[-1]))
            self.ended = True
        elif kept is not None and problem is None:
            for event in kept:
                # Nothing of that waits: the answer is small and whole, or only begun.
                with contextlib.suppress(StopIteration):
                    self._send_now(event)
        super().over(problem)

    def _send_now(self, event: Event) -> None:
        sending: Any = super().send(event)
        sending.send(None)
