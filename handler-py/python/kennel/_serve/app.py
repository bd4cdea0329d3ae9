"""A `kennel.App`, served: its handlers' values become answers here, and their failures too."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from .. import _native
from .._app.app import App
from .._app.channel import is_async
from .._http import files, session
from .._http.response import Response, body_bytes, check_status, is_stream, to_response
from .._http.stream import Pump
from .._runtime import state, tasks, traceback
from .load import LoadError
from .server import Server


class AppServer(Server):
    """A kennel.App."""

    def __init__(self, worker: _native.Worker, app: App) -> None:
        super().__init__(worker)
        self.app = state.app = app
        self.needs_loop = app._needs_loop()
        self.threads = worker.threads or app.threads
        self.all_in_threads = bool(self.threads) and not app._channels and app._raw is None
        app._number()
        worker.set_session_options(app._session)
        for route in app._routes:
            if route.streams and not self.threads and not is_async(route.function):
                raise LoadError(
                    f'{route.title} has body="stream" and is a plain function, which cannot wait for a body: write it'
                    " as `async def`, or give the app threads, as in kennel.App(threads=8)"
                )

    def ready(self) -> None:
        app = self.app
        self.announce(
            app._registration(),
            app._entries(self.threads),
            app._pages(self.threads),
            finish=self.finish,
            failed=self.failed,
            carry=self.carry,
            raw=self.raw,
            compress=self.app.compress,
        )

    def begin(self) -> None:
        for function in self.app._start:
            tasks.as_service(tasks.guard, function)

    def lead(self) -> None:
        for seconds, function in self.app._timers:
            tasks.start_timer(seconds, function)

    def end(self) -> None:
        for function in self.app._stop:
            self.worker.hold()
            tasks.as_service(partial(tasks.guard, function, then=self.release))

    def raw(self, message: Any) -> None:
        tasks.guard(self.app._raw, message, then=tasks.hold("the raw handler", self.app._raw))

    def carry(self, req: Any, number: int, coroutine: Any, context: Any, waits_for: Any) -> None:
        """A handler waits for something."""
        serial = req._job.serial
        tasks.carry(
            coroutine,
            context,
            waits_for,
            lambda: serial,
            lambda value: self.finish(req, number, value),
            lambda problem: self.failed(req, number, problem),
        )

    def finish(self, req: Any, number: int, value: Any) -> None:
        """Answers with what a handler returned."""
        try:
            self._answer(req, number, value)
        except BaseException as problem:
            self.failed(req, number, problem)

    def _answer(self, req: Any, number: int, value: Any) -> None:
        job = req._job
        has_session = req._has_session
        if not has_session and self.worker.send(job, value):
            return
        if value is None:
            raise TypeError(f"{self.app._title(number)} returned nothing")
        if hasattr(value, "__await__"):
            # A function that gives a coroutine without saying so.
            if not tasks.has_loop():
                raise TypeError(f"{self.app._title(number)} returned a {type(value).__name__}; write it as `async def`")
            tasks.start(
                value,
                lambda: job.serial,
                lambda found: self.finish(req, number, found),
                lambda problem: self.failed(req, number, problem),
            )
            return
        made = session.seal(req, value) if has_session else to_response(value)
        if is_stream(made.body):
            pump = Pump(job, made, partial(self.failed, req, number), partial(self._only_log, req))
            if has_session:
                pump.over = partial(session.look_back, req)
            pump.start()
            return
        self._send(req, made)

    def _send(self, req: Any, made: Response) -> None:
        """Answers with a response that is no stream."""
        job, may_compress = req._job, self._may_compress(made)
        if files.is_file(made):
            files.settle(req, made)
            job.send_file(made.body.found, check_status(made.status), made.headers.lines(), may_compress)
            return
        job.respond(check_status(made.status), made.headers.lines(), body_bytes(made.body), may_compress)

    def _may_compress(self, made: Response) -> bool:
        return self.app.compress if made.compress is None else made.compress

    def failed(self, req: Any, number: int, problem: BaseException) -> None:
        """Answers for a handler that raised."""
        if isinstance(problem, _native.Aborted) and req._job.gone:
            # Nobody waits for an answer.
            req._job.abort()
            return
        if state.cutting and isinstance(problem, asyncio.CancelledError):
            # The hub answers when this worker has ended, and names the request.
            return
        html = None
        if not isinstance(problem, _native.Refused):
            html = self.log(req._job.title, problem)

        def broken(again: BaseException) -> None:
            # The error page or an after hook failed too; perhaps just as before.
            if traceback.describe(again).message != traceback.describe(problem).message:
                self.log(req._job.title, again)
            req._job.respond(500, [("Content-Type", "text/plain; charset=utf-8")], b"500 Internal Server Error\n")

        def done(value: Any) -> None:
            try:
                made = to_response(value)
                if is_stream(made.body):
                    raise TypeError("an error page has no pieces")
                self._send(req, made)
            except BaseException as again:
                broken(again)

        tasks.start(self.app._error_page(req, problem, html), lambda: req._job.serial, done, broken)

    def _only_log(self, req: Any, problem: BaseException) -> None:
        self.log(req._job.title, problem)
