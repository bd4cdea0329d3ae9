"""ASGI 3 applications: FastAPI, Starlette, Django, Quart and whatever else speaks it.

Each request and each WebSocket is a call of the application in an asyncio task of its own, which libraries such as
anyio count on. `http` and `websocket` are the two conversations; here is what they share, and the lifespan.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import unquote

from .. import _native
from .._runtime import json, tasks
from .._serve.load import LoadError
from .._serve.server import Server
from .dev import run_shown
from .http import Exchange
from .lifespan import Lifespan
from .websocket import Socket

#: Tasks whose first step runs at once cost one turn of the event loop less.
_EAGER = sys.version_info >= (3, 12)

#: The largest message of a WebSocket's client.
_MAX_MESSAGE = 16 << 20

_VERSIONS = {"version": "3.0", "spec_version": "2.4"}


class Asgi(Server):
    """An ASGI application."""

    needs_loop = True

    def __init__(self, worker: _native.Worker, application: Any) -> None:
        super().__init__(worker)
        self.application = application
        self._loop = tasks.make_loop()
        #: What runs, and in which task: asyncio itself does not keep those that wait.
        self.running: Dict[Any, asyncio.Task[None]] = {}
        self.sockets: Dict[int, Socket] = {}
        self.state: Dict[str, Any] = {}
        self.lifespan = Lifespan(application, _VERSIONS, self.state)
        root = unquote(worker.mount.rstrip("/"))
        shared = {"asgi": _VERSIONS, "root_path": root, "state": self.state}
        # What each request fills in has its place already: a dict that grows is copied once more.
        filled = dict.fromkeys(("http_version", "path", "raw_path", "query_string", "headers", "client", "server"))
        http: Dict[str, Any] = {"type": "http", "extensions": {}, "method": None, "scheme": "http"}
        socket: Dict[str, Any] = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
        self._http_scope = {**http, **shared, **filled}
        self._socket_scope = {**socket, **shared, **filled}

    # From start to end.

    def prepare(self, then: Callable[[], None]) -> None:
        loop = self._loop

        def started(problem: Optional[str]) -> None:
            if problem is None:
                # Not within the application's task.
                loop.call_soon(then)
            else:
                last = problem.strip().splitlines()[-1] if problem.strip() else "it did not say why"
                self._finish(LoadError(f"the app's lifespan did not start: {last}", problem))

        self.lifespan.start(loop, started)

    def ready(self) -> None:
        channels = [_channel(path, number) for number, path in enumerate(("/", "/{*rest}"))]
        self.announce(
            json.encode(
                {
                    "routes": [],
                    "channels": channels,
                    "hooks": True,
                    "not_found": True,
                    "raw": False,
                    "streams": True,
                    "interface": "asgi",
                }
            ),
            [],
            [(self._request, "job"), None, None],
            open=self._open,
            message=self._message,
            close=self._close,
            detach=self._detach,
        )

    def end(self) -> None:
        if self.lifespan.is_running:
            self.worker.hold()
            self.lifespan.shut_down(self.release)

    def busy(self) -> bool:
        return bool(self.running) or super().busy()

    def names(self) -> List[str]:
        open_ones = [task for task in self.running if task.ended or not isinstance(task, Exchange)]
        return [task.title for task in open_ones] + super().names()

    def ended(self, conversation: Any) -> None:
        """A call of the application has ended."""
        self.running.pop(conversation, None)
        if self.worker.stopping:
            self.look_soon()

    def tasks(self) -> List[asyncio.Task[Any]]:
        own = set(self.running.values())
        return [task for task in super().tasks() if task not in own]

    def cancel(self) -> List[asyncio.Task[Any]]:
        return [*self.running.values(), *super().cancel()]

    # Work.

    def obey(self) -> bool:
        # Conversations have tasks of their own.
        return self.worker.turn()

    def _request(self, job: _native.Job) -> None:
        scope = _native.scope(job, self._http_scope, False)
        if self.worker.dev:
            run_shown(self, job, scope)
            return
        self._run(Exchange(self, job), scope, job.serial)

    def _run(self, conversation: Any, scope: Dict[str, Any], serial: int) -> _native.Steps:
        """Runs one conversation in a task. The turn of the hub's order, which is now, covers an eager first step."""
        steps = _native.Steps(self.worker, self.application, scope, conversation, serial, _EAGER)
        if _EAGER:
            task = asyncio.Task(steps, loop=self._loop, eager_start=True)  # type: ignore[call-arg]
            if task.done():
                return steps
        else:
            task = self._loop.create_task(steps)
        self.running[conversation] = task
        return steps

    # Live connections.

    def _open(
        self,
        handler: int,
        serial: int,
        number: int,
        fresh: bool,
        resumed: bool,
        asked: bool,
        name: str,
        transport: str,
        data: str,
        rooms: List[str],
        values: List[str],
        request: _native.Request,
    ) -> None:
        wire = _native.Wire(self.worker.link, number, name, transport)
        if not asked:
            # It was another worker's. What the application knew of it is gone, so its client has to begin anew.
            wire.close(1012, "service restart")
            self.worker.done(serial)
            return
        job = request._job
        title = f"websocket {job.server_field('URI')}"
        socket = Socket(self, wire, number, title, {"conn": name, "path": job.server_field("PATH")})
        self.sockets[number] = socket
        socket.steps = self._run(socket, _native.scope(job, self._socket_scope, True), 0)
        self.worker.done(serial)

    def _message(self, number: int, serial: int, payload: Any) -> None:
        socket = self.sockets.get(number)
        if socket is None:
            self.worker.done(serial)
        else:
            socket.take(serial, payload)

    def _close(self, number: int, serial: int, code: int, reason: str) -> None:
        socket = self.sockets.pop(number, None)
        if socket is None:
            self.worker.done(serial)
        else:
            socket.ended(serial, code, reason)

    def _detach(self, number: int) -> None:
        socket = self.sockets.pop(number, None)
        if socket is not None:
            socket.taken_away()


def _channel(path: str, number: int) -> Dict[str, Any]:
    """All WebSockets, from pages of any origin: whom to let in is the application's to say."""
    return {
        "path": path,
        "handler": number,
        "place": "the application",
        "straight": True,
        "origins": ["*"],
        "protocols": [],
        "max_message": _MAX_MESSAGE,
        "ping": 30.0,
        "deflate": False,
        "slow": "wait",
        "buffer": 1 << 20,
        "asks": True,
    }
