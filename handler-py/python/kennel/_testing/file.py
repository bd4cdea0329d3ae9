"""Runs a file of tests for `kennel test`, by pytest where that is installed, and tells what comes of each."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Optional

from .._runtime.traceback import describe
from . import outcome, settings
from .plan import take, wanted

#: Begins a line that is an event.
_MARK = "\x1e"


def main() -> int:
    """Runs the file that the environment names."""
    plan = take()
    settings.tell(plan)
    # What tests print is none of what is told.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # What was printed is there whatever becomes of this process.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def tell(event: str, **fields: Any) -> None:
        sys.stdout.flush()
        out.write(f"\n{_MARK}{json.dumps({'event': event, **fields})}\n")
        out.flush()

    sys.argv = [plan["file"]]
    for folder in (os.getcwd(), os.path.dirname(os.path.abspath(plan["file"]))):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if importlib.util.find_spec("pytest") is not None:
        from .pytest import run

        return run(plan, tell)
    return _run(plan, tell)


def _run(plan: Dict[str, Any], tell: Callable[..., None]) -> int:
    try:
        tests = [test for test in _load(plan["file"]) if wanted(plan, test.name)]
    except BaseException as problem:
        tell("broken", **failure(problem))
        return 1
    tell("loaded", tests=len(tests))
    failed = False
    for test in tests[plan["done"] :]:
        tell("begin", name=test.name, line=test.line)
        begun, found, reason = time.monotonic(), None, None
        errors: List[str] = []
        outcome.errors = errors
        try:
            test.run()
        except KeyboardInterrupt:
            raise
        except outcome.Skipped as skipped:
            reason = str(skipped)
        except BaseException as problem:
            found, failed = {**failure(problem), "app_errors": errors}, True
        tell("end", name=test.name, seconds=time.monotonic() - begun, failure=found, skipped=reason)
    tell("done")
    return int(failed)


class _Test:
    def __init__(self, name: str, function: Any, fixed: Optional[type] = None) -> None:
        self.name, self._function, self._class = name, function, fixed
        self.line: int = inspect.unwrap(function).__code__.co_firstlineno

    def run(self) -> None:
        function = self._function
        if self._class is not None:
            function = function.__get__(self._class())
        needs = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is parameter.empty
        ]
        if needs:
            raise TypeError(f"`{needs[0]}` is a fixture, which takes pytest: python -m pip install pytest")
        result = function()
        if inspect.iscoroutine(result):
            asyncio.run(result)


def _load(file: str) -> List[_Test]:
    path = os.path.abspath(file)
    name = os.path.basename(path)[: -len(".py")]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with open(path, "rb") as source:
        exec(compile(_watched(source.read(), path), path, "exec", dont_inherit=True), module.__dict__)
    tests = []
    for name, value in vars(module).items():
        if name.startswith("test_") and inspect.isfunction(value):
            tests.append(_Test(name, value))
        elif name.startswith("Test") and inspect.isclass(value):
            methods = [(key, method) for key, method in vars(value).items() if key.startswith("test_")]
            tests.extend(_Test(f"{name}.{key}", method, value) for key, method in methods if inspect.isfunction(method))
    return sorted(tests, key=lambda test: test.line)


def _watched(source: bytes, path: str) -> Any:
    """The file's code, in which asserts say what both sides were."""
    from .asserts import rewrite

    return rewrite(source, path)


def failure(problem: BaseException) -> Dict[str, Any]:
    """An exception as `kennel test` shows it."""
    described = describe(problem)
    message, file, line = described.message, described.file, described.line
    if isinstance(problem, AssertionError):
        message = str(problem) or "assert failed"
        source = traceback.extract_tb(problem.__traceback__)[-1].line or ""
        if source.startswith("assert"):
            message = source + "\n" + message if str(problem) else source
    frames = [text.strip() for text in described.traceback.splitlines() if text.strip().startswith("File ")]
    lines = described.traceback.splitlines() if len(frames) > 1 else []
    return {"message": message, "file": file, "line": line, "traceback": lines}
