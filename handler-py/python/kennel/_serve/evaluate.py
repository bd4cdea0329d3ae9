"""Code that an operator types on the console, run in this worker."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any, Dict, Optional

from .. import _native
from .._runtime import json, state, tasks, traceback

#: The script's own names: what is defined here, the script sees.
_namespace: Optional[Dict[str, Any]] = None


def remember(namespace: Dict[str, Any]) -> None:
    """Says which names code is to see."""
    global _namespace
    _namespace = namespace


def evaluate(worker: _native.Worker, query: int, code: str) -> None:
    """Runs an expression or statements, and tells what came of it."""

    def done(value: Any) -> None:
        _native.evaluated(worker, query, True, _shown(value))

    def failed(problem: BaseException) -> None:
        _native.evaluated(worker, query, False, str(traceback.describe(problem)))

    scope = _namespace if _namespace is not None else {}
    scope.setdefault("kennel", sys.modules["kennel"])
    scope.setdefault("app", state.app)
    try:
        try:
            compiled = compile(code, "console", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
        except SyntaxError:
            compiled = compile(code, "console", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
        value = eval(compiled, scope)
    except BaseException as problem:
        failed(problem)
        return
    if inspect.iscoroutine(value):
        tasks.start(value, lambda: 0, done, failed)
    else:
        done(value)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.encode(value)
    except (TypeError, ValueError):
        return repr(value)
