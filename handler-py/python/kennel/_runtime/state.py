"""What this process is: a worker with a number and settings, or nothing yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._app.app import App
    from .._native import Link, Worker

#: The app's own settings: `kennel.config`.
config: dict[str, Any] = {}
#: The number of this worker within its app: `kennel.worker`.
number = 0
#: The app that is served, once it is loaded.
app: App | None = None

#: The app is loaded, and its start hooks have been called.
serves = False
#: What was still running after a stop is being cancelled.
cutting = False

_NO_WORKER = "this works in handlers and tasks of an app that `kennel run` serves"

_worker: Worker | None = None
_link: Link | None = None


def set_worker(found: Worker) -> None:
    global _worker, _link
    _worker, _link = found, found.link


def worker() -> Worker:
    """The hub's other end; there is none outside of a worker."""
    if _worker is None:
        raise RuntimeError(_NO_WORKER)
    return _worker


def link() -> Link:
    """The way to the hub, for what needs no more of the worker."""
    if _link is None:
        raise RuntimeError(_NO_WORKER)
    return _link


def has_worker() -> bool:
    return _worker is not None
