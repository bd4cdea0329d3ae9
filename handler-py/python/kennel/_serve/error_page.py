"""The page that `kennel dev` shows in the browser for an exception."""

from __future__ import annotations

from .. import _native
from .._runtime import traceback


def of_failure(title: str, failure: traceback.Failure) -> str:
    """The page for an exception that was taken apart already."""
    return _native.error_html(title, failure.message, failure.file, failure.line, failure.traceback)


def of_exception(title: str, problem: BaseException) -> bytes:
    """The page for an exception that is in the log already."""
    return of_failure(title, traceback.describe(problem)).encode()
