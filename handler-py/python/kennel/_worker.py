"""A worker's process: find the hub, load what is to be served, serve it."""

from __future__ import annotations

import contextlib
import difflib
import faulthandler
import importlib
import importlib.util
import os
import sys
import time
from typing import Any, Iterator, Optional

from . import _native
from ._runtime import json, log, state, tasks, traceback
from ._serve import evaluate
from ._serve.load import LoadError, find_app, interface_of
from ._serve.server import Server


def main() -> int:
    """Serves as a worker; the hub says what."""
    page = _open_page()
    worker = _native.Worker.connect()
    os.environ.pop("KENNEL_WORKER", None)
    if worker is None:
        return 0
    state.set_worker(worker)
    state.config, state.number = json.decode(worker.config) or {}, worker.number
    os.register_at_fork(after_in_child=lambda: _forget(worker))
    log.capture()
    tasks.early_loop()
    try:
        with _watched(page, worker.load_time):
            found = _load(worker)
            server = _server(worker, found)
    except BaseException as problem:
        _report(worker, problem)
        return 1
    try:
        server.serve()
    except LoadError as problem:
        _report(worker, problem)
        return 1
    return 0


def _open_page() -> Optional[int]:
    """The page that this worker shares with the hub, under a descriptor whose position is its own."""
    number = os.environ.get("KENNEL_WORKER", "").partition(",")[2]
    try:
        return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_CLOEXEC) if number else None
    except OSError:
        # Without /proc only the place is missing in a message.
        return None


@contextlib.contextmanager
def _watched(page: Optional[int], load_time: float) -> Iterator[None]:
    """Somewhat before the hub kills this worker, because what it serves does not load, the place where the main thread
    stands is written to the page. A thread of the interpreter's own does it, even when native code does not let go.
    """
    if page is None:
        yield
        return
    try:
        os.lseek(page, _native.Worker.STANDING, os.SEEK_SET)
        if load_time > 0:
            left = max(load_time - 1, load_time * 0.75) - _age(load_time)
            faulthandler.dump_traceback_later(max(left, 0.05), file=page)
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        os.close(page)


def _age(most: float) -> float:
    """Seconds since this process was started; 0 where they are not known."""
    try:
        with open("/proc/self/stat", encoding="latin-1") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0
    return age if 0 <= age <= most else 0


def _forget(worker: _native.Worker) -> None:
    """In a child of this worker: it is none, and keeps nothing open whose end the hub waits for."""
    for descriptor in worker.forget():
        os.close(descriptor)


def _report(worker: _native.Worker, problem: BaseException) -> None:
    failure = traceback.describe(problem)
    file: Optional[str] = failure.file or worker.source
    line, message, details = failure.line, failure.message, failure.traceback
    if isinstance(problem, LoadError):
        file, line, message, details = worker.source, None, str(problem), problem.details
    elif isinstance(problem, ModuleNotFoundError) and problem.name and failure.file is None:
        file, line = None, None
        message = f"cannot serve `{worker.source}`: there is neither a script nor a module of this name here"
        message += _near_module(worker.source)
    elif isinstance(problem, ModuleNotFoundError) and str(problem) == f"No module named {problem.name!r}":
        message = _missing(str(problem.name))
    elif isinstance(problem, ImportError) and "no known parent package" in str(problem):
        dotted = worker.source[: -len(".py")].replace("/", ".")
        message += f"; as a part of its package it is `kennel run {dotted}`"
    elif isinstance(problem, SystemExit):
        message = f"the script ended itself while it was loaded ({message})"
    worker.fail(message, file, line, details)


def _near_module(name: str) -> str:
    """Which module or script of this folder was probably meant."""
    known = [os.path.splitext(entry.name)[0] for entry in os.scandir() if entry.name.endswith((".py", ".lua"))]
    known += [entry.name for entry in os.scandir() if os.path.isfile(os.path.join(entry.path, "__init__.py"))]
    near = difflib.get_close_matches(name, known, 1, 0.7)
    if not near:
        return ""
    return f"; did you mean `{near[0]}{'.lua' if os.path.isfile(near[0] + '.lua') else ''}`?"


def _missing(name: str) -> str:
    """Of a module that Python did not find, in its own words."""
    package = name.partition(".")[0]
    text = f"there is no module `{name}` for {sys.executable}"
    with contextlib.suppress(Exception):
        if importlib.util.find_spec(package) is not None:
            return f"{text}, but `{package}` is there"
    return f"{text}; it may come with: {sys.executable} -m pip install {package}"


def _load(worker: _native.Worker) -> Any:
    """Imports what is to be served, and finds the app in it."""
    source, name = worker.source, worker.object
    if worker.dev:
        # Of two versions of a module that are saved within a second the first would be served, were it kept.
        sys.dont_write_bytecode = True
    if source.endswith(".py"):
        folder, file = os.path.split(os.path.abspath(source))
        sys.path.insert(0, folder)
        module_name = file[: -len(".py")]
        refuse_shadow(module_name)
        spec = importlib.util.spec_from_file_location(module_name, os.path.join(folder, file))
        if spec is None or spec.loader is None:
            raise LoadError("it cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        sys.argv = [source]
        # A script is compiled each time, as Python itself does: what lies in `__pycache__` is told from newer code
        # only by whole seconds and its size.
        with open(os.path.join(folder, file), "rb") as script:
            exec(compile(script.read(), script.name, "exec", dont_inherit=True), module.__dict__)
    else:
        sys.path.insert(0, os.getcwd())
        sys.argv = [source]
        module = importlib.import_module(source)
        tasks.set_own(sys.modules[source.partition(".")[0]])
    evaluate.remember(vars(module))
    return find_app(module, source, name)


def refuse_shadow(module_name: str) -> None:
    """A script that is called as this package is what `import kennel` would find."""
    if module_name == "kennel":
        raise LoadError("a script cannot be called `kennel.py`: its `import kennel` finds the script itself; rename it")


def _server(worker: _native.Worker, found: Any) -> Server:
    interface = interface_of(found, worker.object, worker.source, worker.interface)
    if interface == "kennel":
        from ._serve.app import AppServer

        return AppServer(worker, found)
    if interface == "asgi":
        from ._asgi.server import Asgi

        return Asgi(worker, found)
    from ._wsgi.server import Wsgi

    return Wsgi(worker, found)
