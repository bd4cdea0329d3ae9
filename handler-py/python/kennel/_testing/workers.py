"""The workers of a rehearsed site: the real ones, in the test's own interpreter.

What a worker process keeps in modules of this package is here kept for each worker, and put in its place while it runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from .._app.app import App
from .._live import orders
from .._runtime import json, log, state, tasks
from .._serve import evaluate
from .._serve.load import OTHER_TESTS, LoadError, find_app, refuse_shadow, report
from .._worker import server_of
from .still_loop import StillLoop

#: What the package keeps for a process, and so for a worker.
_KEPT: List[Tuple[Any, str, Any]] = [
    (state, "config", dict),
    (state, "number", int),
    (state, "app", lambda: None),
    (state, "_worker", lambda: None),
    (state, "_link", lambda: None),
    (tasks, "_loop", lambda: None),
    (tasks, "_carrier", lambda: None),
    (tasks, "_early", list),
    (tasks, "_work", dict),
    (tasks, "_rested", lambda: None),
    (state, "serves", bool),
    (state, "cutting", bool),
    (orders, "_live", dict),
    (orders, "_by_id", dict),
    (evaluate, "_namespace", lambda: None),
]

_handler = log._Handler()
#: Modules that came with an app that a site has loaded; they are loaded again with it.
_with_apps: Set[str] = set()


class _Worker:
    def __init__(self, native: Any, time: Any) -> None:
        self.native, self.time = native, time
        self.kept = [make() for _, _, make in _KEPT]
        self.loop = StillLoop(time.passed)
        self.server: Any = None
        self.failed = False

    @contextmanager
    def inside(self) -> Iterator[None]:
        """While it runs, the package's modules are its own."""
        outer = [getattr(module, name) for module, name, _ in _KEPT]
        for (module, name, _), value in zip(_KEPT, self.kept):
            setattr(module, name, value)
        root = logging.getLogger()
        level = root.level
        root.addHandler(_handler)
        if level == logging.WARNING:
            root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.removeHandler(_handler)
            if level == logging.WARNING:
                root.setLevel(level)
            self.kept = [getattr(module, name) for module, name, _ in _KEPT]
            for (module, name, _), value in zip(_KEPT, outer):
                setattr(module, name, value)


class Crew:
    """Whom the site asks to start workers and to give them their turns."""

    def __init__(self, app: Optional[App]) -> None:
        #: The app that is served; or nothing: the source that the worker is told.
        self.app = app
        self.workers: Dict[int, _Worker] = {}

    def start(self, number: int, native: Any, time: Any) -> None:
        self.workers[number] = _Worker(native, time)

    def turn(self, number: int) -> Tuple[Optional[float], Any]:
        worker = self.workers[number]
        with worker.inside():
            if worker.server is None and not worker.failed:
                self._load(worker)
            if worker.failed:
                return None, worker.time
            worker.loop.rest()
            if worker.server._end.done():
                worker.native.flush()
                problem = worker.server._end.exception()
                if problem is not None:
                    raise problem
                return -1.0, worker.time
        return worker.loop.next, worker.time

    def end(self, number: int) -> None:
        worker = self.workers.pop(number, None)
        if worker is not None:
            with worker.inside():
                worker.loop.end()
            # The native worker holds the server's functions, and the server the worker: neither would go.
            if worker.server is not None:
                vars(worker.server).clear()

    def end_all(self) -> None:
        for number in list(self.workers):
            self.end(number)

    def _load(self, worker: _Worker) -> None:
        native = worker.native
        state.set_worker(native)
        state.config, state.number = json.decode(native.config) or {}, native.number
        worker.loop.set_task_factory(tasks._make_task)
        tasks._loop = worker.loop
        try:
            found = self.app if self.app is not None else _load_source(native)
            if not isinstance(found, App) and callable(found):
                raise LoadError(f"testing.site takes a kennel.App, not {type(found).__name__}{OTHER_TESTS}")
            server = server_of(native, found)
        except Exception as problem:
            worker.failed = True
            report(native, problem)
            return
        # Threads have their own time: handlers that block run here one after the other.
        server.threads, server.all_in_threads = 0, False
        worker.server = server
        server.enter_loop(worker.loop)


def _load_source(native: Any) -> Any:
    """Imports a script anew, and finds the app in it."""
    source, name = native.source, native.object
    for earlier in _with_apps:
        sys.modules.pop(earlier, None)
    known = set(sys.modules)
    folder, file = os.path.split(os.path.abspath(source)) if source.endswith(".py") else (os.getcwd(), "")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        if not file:
            module = importlib.import_module(source)
        else:
            module = _run_script(os.path.join(folder, file), file[: -len(".py")])
    finally:
        for new in set(sys.modules) - known:
            where = getattr(sys.modules[new], "__file__", None) or ""
            if os.path.abspath(where).startswith(folder + os.sep) and "site-packages" not in where:
                _with_apps.add(new)
    evaluate.remember(vars(module))
    return find_app(module, source, name)


def _run_script(path: str, name: str) -> Any:
    refuse_shadow(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise LoadError("it cannot be imported")
    module = importlib.util.module_from_spec(spec)
    earlier = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with open(path, "rb") as script:
            exec(compile(script.read(), path, "exec", dont_inherit=True), module.__dict__)
    finally:
        if earlier is not None:
            # A test has imported it too, and goes on with what it knows.
            sys.modules[name] = earlier
    return module
