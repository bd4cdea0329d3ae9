"""A worker's process: find the hub, load what is to be served, serve it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import time
from typing import Any, Iterator, Optional

from . import _native
from ._runtime import json, log, state, tasks
from ._serve.load import LoadError, interface_of, load, report
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
            found = load(worker)
            server = server_of(worker, found)
    except BaseException as problem:
        report(worker, problem)
        return 1
    try:
        server.serve()
    except LoadError as problem:
        report(worker, problem)
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


def server_of(worker: _native.Worker, found: Any) -> Server:
    """What serves that: by its interface."""
    interface = interface_of(found, worker.object, worker.source, worker.interface)
    if interface == "kennel":
        from ._serve.app import AppServer

        return AppServer(worker, found)
    if interface == "asgi":
        from ._asgi.server import Asgi

        return Asgi(worker, found)
    from ._wsgi.server import Wsgi

    return Wsgi(worker, found)
