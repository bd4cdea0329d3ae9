"""What is said about a script's errors: the place, the words, the traceback without Kennel's own frames."""

from __future__ import annotations

import difflib
import importlib
import os
import traceback
from typing import NamedTuple, Optional

#: The folder of the package, above this one.
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) if "__file__" in globals() else None


#: What to do where a debugger finds no terminal.
NO_TERMINAL = (
    "a worker has no terminal: install remote-pdb, write breakpoint(), set PYTHONBREAKPOINT=remote_pdb.set_trace and a"
    " long limits.script_time, and connect to the address that the log shows"
)


class TemplateError(Exception):
    """A template that cannot be made a page. `file` and `line` say where in it, when that is known."""

    __module__ = "kennel"

    def __init__(self, message: str, file: Optional[str] = None, line: Optional[int] = None) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


class Failure(NamedTuple):
    """An exception, taken apart."""

    message: str
    file: Optional[str]
    line: Optional[int]
    traceback: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        return place + self.message


_IMPORTLIB = os.path.dirname(importlib.__file__)


def is_own(filename: str) -> bool:
    """Whether a frame is none of the script's: Kennel's, or the import's that led to it."""
    if filename.startswith(("<frozen importlib", _IMPORTLIB)):
        return True
    return filename.startswith("<kennel>") or (_PACKAGE is not None and filename.startswith(_PACKAGE + os.sep))


def shorten(filename: str) -> str:
    """A path as one would type it here."""
    here = os.getcwd() + os.sep
    return filename[len(here) :] if filename.startswith(here) else filename


def printable(text: str, otherwise: str = "backslashreplace") -> str:
    """A text without the halves of characters that Python's texts may hold and nobody else's."""
    return text if text.isascii() else text.encode("utf-8", otherwise).decode()


def describe(problem: BaseException, causes: int = 8) -> Failure:
    """Takes an exception apart for the log and for the browser, with so many of those that led to it."""
    failure = _describe(problem, causes)
    return failure._replace(message=printable(failure.message), traceback=printable(failure.traceback))


def _describe(problem: BaseException, causes: int) -> Failure:
    if isinstance(problem, SyntaxError) and problem.filename and not is_own(problem.filename):
        text = f"{type(problem).__name__}: {problem.msg}"
        where = (problem.text or "").rstrip("\n")
        return Failure(text, shorten(problem.filename), problem.lineno, where)
    message = "".join(traceback.format_exception_only(type(problem), problem)).strip() + _did_you_mean(problem)
    if (type(problem).__module__, type(problem).__name__) == ("bdb", "BdbQuit"):
        message += f": {NO_TERMINAL}"
    frames = traceback.extract_tb(problem.__traceback__)
    first = next((at for at, frame in enumerate(frames) if not is_own(frame.filename)), len(frames))
    shown = [frame for frame in frames[first:] if not is_own(frame.filename)]
    file = line = None
    # The script's own line says more than the library's that it called.
    inner = next((frame for frame in reversed(shown) if _is_scripts(frame.filename)), shown[-1] if shown else None)
    if inner is not None:
        file, line = shorten(inner.filename), inner.lineno
    if isinstance(problem, TemplateError) and problem.file is not None:
        # The script's line is in the traceback.
        file, line = problem.file, problem.line
    lines = []
    for frame in shown:
        lines.append(f"{shorten(frame.filename)}:{frame.lineno}: in {frame.name}")
        if frame.line:
            lines.append(f"    {frame.line}")
    cause = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    if cause is not None and cause is not problem and causes > 0:
        inside = _describe(cause, causes - 1)
        lines.append(f"caused by {inside}")
        lines.extend("    " + text for text in inside.traceback.splitlines())
    return Failure(message, file, line, "\n".join(lines))


def _did_you_mean(problem: BaseException) -> str:
    """What an attribute was probably meant to be. Python itself says so in tracebacks, from 3.12 on in texts, too."""
    name, owner = getattr(problem, "name", None), getattr(problem, "obj", None)
    if not isinstance(problem, AttributeError) or owner is None or not isinstance(name, str):
        return ""
    try:
        known = [known for known in dir(owner) if not known.startswith("_")]
        near = difflib.get_close_matches(name, known, 1, 0.75)
    except Exception:
        # The owner's own code runs here, and may be what has failed.
        return ""
    return f"; did you mean `{near[0]}`?" if near else ""


def _is_scripts(filename: str) -> bool:
    return "site-packages" not in filename and not filename.startswith("<") and os.sep + "lib" + os.sep not in filename
