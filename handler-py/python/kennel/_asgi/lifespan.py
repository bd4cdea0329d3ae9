"""The lifespan of an ASGI application: what it does before its first request and after its last."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, Optional

from .._runtime import log, tasks, traceback

Event = Dict[str, Any]


class Lifespan:
    """One conversation with the application for as long as the worker lives."""

    def __init__(self, application: Any, versions: Dict[str, str], state: Dict[str, Any]) -> None:
        self._application = application
        self._scope = {"type": "lifespan", "asgi": dict(versions), "state": state}
        self._task: Optional[asyncio.Task[None]] = None
        #: Who waits for the start, with the reason why it did not; for the end.
        self._started: Optional[Callable[[Optional[str]], None]] = None
        self._over: Optional[Callable[[], None]] = None
        self._end: asyncio.Future[None]
        self._asked = False
        #: It has said so itself.
        self._failed = False

    @property
    def is_running(self) -> bool:
        """Whether the application wants to hear of the end."""
        return self._task is not None and not self._task.done()

    def start(self, loop: asyncio.AbstractEventLoop, started: Callable[[Optional[str]], None]) -> None:
        """Starts it. `started` is called with nothing, or with the application's words for why it cannot serve."""
        self._started = started
        self._end = loop.create_future()
        self._task = tasks.as_service(loop.create_task, self._run())

    def shut_down(self, over: Callable[[], None]) -> None:
        """Tells it that there was the last request; `over` is called when it has done what it wants to."""
        self._over = over
        self._end.set_result(None)

    async def _run(self) -> None:
        try:
            await self._application(self._scope, self._receive, self._send)
        except asyncio.CancelledError:
            pass
        except BaseException as problem:
            if self._started is not None:
                log.write("debug", f"the app has no lifespan: {traceback.describe(problem)}")
            elif not self._failed:
                tasks.log_failure(problem)
        finally:
            # An app that knows nothing of lifespans is served without.
            self._tell_started(None)
            self._tell_over()

    def _tell_started(self, problem: Optional[str]) -> None:
        started, self._started = self._started, None
        if started is not None:
            started(problem)

    def _tell_over(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            over()

    async def _receive(self) -> Event:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await asyncio.shield(self._end)
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: Event) -> None:
        kind = event["type"]
        if kind == "lifespan.startup.complete":
            self._tell_started(None)
        elif kind == "lifespan.startup.failed":
            self._failed = True
            self._tell_started(event.get("message") or "")
        elif kind == "lifespan.shutdown.complete":
            self._tell_over()
        elif kind == "lifespan.shutdown.failed":
            self._failed = True
            message = str(event.get("message") or "it did not say why").strip().replace("\n", "\n    ")
            log.write("error", f"the app's lifespan did not end well: {message}")
            self._tell_over()
        else:
            raise RuntimeError(f"`{kind}` is no message of a lifespan")
