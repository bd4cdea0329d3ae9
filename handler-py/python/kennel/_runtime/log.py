"""Log lines: `kennel.log`, the `logging` module, `print` and whatever else is written to standard output."""

from __future__ import annotations

import contextvars
import io
import logging
import os
import sys
import threading
from typing import Any, Dict, List, Optional

from .. import _native
from . import json, state
from .traceback import NO_TERMINAL, printable, shorten


def write(level: str, text: str, fields: Optional[Dict[str, Any]] = None) -> None:
    """Writes a line to Kennel's log."""
    if not state.has_worker():
        print(f"{level}: {text}", file=sys.__stderr__)
        return
    _native.log(state.worker(), level, printable(text), printable(json.encode(fields), "replace") if fields else "")


class Log:
    """`kennel.log.info(text, fields)` and its sisters."""

    def debug(self, text: str, fields: Optional[Dict[str, Any]] = None) -> None:
        """For whoever looks for a bug."""
        write("debug", str(text), fields)

    def info(self, text: str, fields: Optional[Dict[str, Any]] = None) -> None:
        """Worth knowing."""
        write("info", str(text), fields)

    def warn(self, text: str, fields: Optional[Dict[str, Any]] = None) -> None:
        """Something is not as it should be."""
        write("warn", str(text), fields)

    def error(self, text: str, fields: Optional[Dict[str, Any]] = None) -> None:
        """Something failed."""
        write("error", str(text), fields)


log = Log()

#: Under `kennel dev`: the exceptions that were logged while one request was answered. Frameworks log what they catch.
noticed: contextvars.ContextVar[Optional[List[BaseException]]] = contextvars.ContextVar("noticed", default=None)


class _Handler(logging.Handler):
    """Brings what the `logging` module is told into Kennel's log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            found = noticed.get()
            if found is not None and record.exc_info and record.exc_info[1] is not None:
                found.append(record.exc_info[1])
            text = self.format(record)
            level = "error"
            if record.levelno < logging.INFO:
                level = "debug"
            elif record.levelno < logging.WARNING:
                level = "info"
            elif record.levelno < logging.ERROR:
                level = "warn"
            write(level, text.replace("\n", "\n    "), None if record.name == "root" else {"logger": record.name})
        except Exception:
            self.handleError(record)


def _arrives(record: logging.LogRecord) -> bool:
    """Whether a record comes to Kennel's handler on its way up."""
    found: Any = logging.root
    if record.name != logging.root.name:
        found = logging.root.manager.loggerDict.get(record.name)
    while isinstance(found, logging.Logger):
        if any(isinstance(handler, _Handler) for handler in found.handlers):
            return True
        found = found.parent if found.propagate else None
    return False


def _write_once() -> None:
    """A record is one line, though an app has handlers of its own that write to standard error, as Django has."""
    emit = logging.StreamHandler.emit

    def emit_once(self: Any, record: logging.LogRecord) -> None:
        if not (isinstance(self.stream, _Lines) and _arrives(record)):
            emit(self, record)

    logging.StreamHandler.emit = emit_once  # type: ignore[method-assign]


class _Lines(io.TextIOBase):
    """A stream whose lines are log lines."""

    def __init__(self, level: str, beneath: Any) -> None:
        self._level = level
        self._beneath = beneath
        self._partial: Dict[int, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "replace"

    @property
    def buffer(self) -> Any:
        return self._beneath.buffer

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._beneath.fileno())

    def write(self, text: str) -> int:
        me = threading.get_ident()
        *lines, rest = (self._partial.pop(me, "") + text).split("\n")
        for line in lines:
            write(self._level, line)
        if rest:
            self._partial[me] = rest
        return len(text)

    def flush(self) -> None:
        rest = self._partial.pop(threading.get_ident(), "")
        if rest:
            write(self._level, rest)


def _breakpoint(*args: Any, **kwargs: Any) -> Any:
    """`breakpoint()`: a debugger that waits for a terminal would only see the end of its input."""
    if os.environ.get("PYTHONBREAKPOINT"):
        return sys.__breakpointhook__(*args, **kwargs)
    caller = sys._getframe(1)
    write(
        "warn",
        f"breakpoint() at {shorten(caller.f_code.co_filename)}:{caller.f_lineno} is skipped, since {NO_TERMINAL}",
    )
    return None


def capture() -> None:
    """From now on what is printed and logged arrives in Kennel's log."""
    sys.stdout = _Lines("info", sys.__stdout__)
    sys.stderr = _Lines("warn", sys.__stderr__)
    sys.breakpointhook = _breakpoint
    root = logging.getLogger()
    root.addHandler(_Handler())
    _write_once()
    root.setLevel(logging.INFO)
