"""Runs a file of tests by pytest, and tells what comes of each."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from typing import Any, Callable, Dict, Optional, TextIO

from .._runtime.traceback import is_own, shorten
from .plan import wanted


def run(plan: Dict[str, Any], tell: Callable[..., None]) -> int:
    import pytest  # type: ignore[import-not-found, unused-ignore]

    plugin = _Plugin(plan, tell, open(os.dup(2), "w", encoding="utf-8"))
    # Its own report is left out; what it has to say before it reports goes to standard error.
    shown, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")
    try:
        code = pytest.main(["-q", "-p", "no:cacheprovider", "--tb=short", plan["file"]], plugins=[plugin])
    finally:
        sys.stdout.close()
        sys.stdout = shown
    if not plugin.collected:
        message = f"pytest could not begin (exit code {int(code)}); python -m pytest {plan['file']} says more"
        tell("broken", message=message, file=plan["file"], line=None, traceback=[])
        return int(code)
    tell("done")
    return int(code)


class _Plugin:
    """pytest's hooks."""

    def __init__(self, plan: Dict[str, Any], tell: Callable[..., None], prints: TextIO) -> None:
        self._plan, self._tell, self._prints = plan, tell, prints
        #: It has come so far as to say which tests there are, or why there are none.
        self.collected = False
        self._seconds = 0.0
        self._failure: Optional[Dict[str, Any]] = None
        self._skipped: Optional[str] = None

    def pytest_collection_modifyitems(self, items: Any) -> None:
        if self.collected:
            items[:] = []
            return
        self.collected = True
        items[:] = [item for item in items if wanted(self._plan, self._name(item))]
        self._tell("loaded", tests=len(items))
        items[:] = items[self._plan["done"] :]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.collected:
            self.collected = True
            text = getattr(report, "longreprtext", "") or str(report.longrepr)
            last = [line for line in text.splitlines() if line.strip()][-1:] or ["it cannot be loaded"]
            lines = text.splitlines()
            self._tell(
                "broken", message=last[0].removeprefix("E").strip(), file=self._plan["file"], line=None, traceback=lines
            )

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self._seconds, self._failure, self._skipped = 0.0, None, None
        _, line, name = location
        self._tell("begin", name=name, line=(line or 0) + 1)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._seconds += report.duration
        if report.skipped and self._failure is None:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
            self._skipped = str(reason).removeprefix("Skipped: ")
        elif report.failed and self._failure is None:
            self._failure = _described(report)
            # Only what a failing test prints is shown, as pytest does.
            self._prints.write(report.capstdout)
            self._prints.flush()

    def pytest_runtest_logfinish(self, nodeid: str, location: Any) -> None:
        self._tell("end", name=location[2], seconds=self._seconds, failure=self._failure, skipped=self._skipped)

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> Optional[bool]:
        """Coroutines need no plugin of their own."""
        function = pyfuncitem.obj
        if not inspect.iscoroutinefunction(function) or pyfuncitem.config.pluginmanager.hasplugin("asyncio"):
            return None
        names = pyfuncitem._fixtureinfo.argnames
        asyncio.run(function(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True

    @staticmethod
    def _name(item: Any) -> str:
        return str(item.location[2])


def _described(report: Any) -> Dict[str, Any]:
    crash = getattr(report.longrepr, "reprcrash", None)
    file: Optional[str] = None
    line: Optional[int] = None
    message = str(report.longrepr)
    if crash is not None:
        message, file, line = crash.message, shorten(str(crash.path)), crash.lineno
    traceback = []
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", [])
    if entries:
        first = getattr(entries[-1], "lines", [])
        marked = [text[1:].strip() for text in first if text.startswith(">")] or [first[0].strip()] if first else []
        if marked and marked[0].startswith("assert"):
            message = marked[0] + "\n" + message
    places = [entry.reprfileloc for entry in entries if getattr(entry, "reprfileloc", None) is not None]
    if file is not None and is_own(file):
        # The test's own line says more than Kennel's that it called.
        inner = next((place for place in reversed(places) if not is_own(str(place.path))), None)
        if inner is not None:
            file, line = shorten(os.path.abspath(inner.path)), inner.lineno
    if len(entries) > 1:
        traceback = [f"{shorten(os.path.abspath(place.path))}:{place.lineno}: {place.message}" for place in places]
    errors = [text for name, text in report.sections if name.startswith("Captured stderr")]
    if sys.version_info >= (3, 11) and not crash and report.when != "call":
        message = f"in its {report.when}: {message}"
    return {"message": message, "file": file, "line": line, "traceback": traceback, "app_errors": errors}
