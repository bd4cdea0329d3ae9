"""What `kennel.toml` says about the app that tests drive.

`kennel test` tells it; where something else runs the tests it is read here.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Optional, Tuple, Union

_told: Optional[Dict[str, Any]] = None


def tell(plan: Dict[str, Any]) -> None:
    """`kennel test` says what there is."""
    global _told
    _told = plan


def of(app: Union[str, os.PathLike[str], None]) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """What the workers of an app are told, and the limits; nothing named: the usual app."""
    plan = _told if _told is not None else _read()
    known = plan.get("app")
    start: Dict[str, Any] = {"source": "", "config": {}, "mount": "/"}
    if app is None:
        if known is None:
            raise LookupError(
                'which app? name it, as in testing.site("app.py") or testing.site(app), or list it in kennel.toml'
            )
        start.update(known)
    else:
        source, _, name = os.fspath(app).partition(":")
        start.update(known if known is not None and known.get("source") == source else {})
        start.update(source=_find(source), object=name)
    # A test shares its process with the app, so there is no bound of memory of its own.
    start.update(number=0, memory=0, dev=False, threads=0, version="")
    return start, dict(plan.get("limits") or {})


def _find(source: str) -> str:
    """A script as seen from the working directory, or from a folder around it."""
    if not source.endswith(".py") or os.path.isabs(source):
        return source
    folder = os.getcwd()
    while True:
        path = os.path.join(folder, source)
        if os.path.isfile(path):
            return os.path.relpath(path)
        above = os.path.dirname(folder)
        if above == folder:
            return source
        folder = above


def _read() -> Dict[str, Any]:
    """What kennel.toml in the working directory or above says, as far as tests need it."""
    path = _find_file("kennel.toml")
    if path is None:
        usual = _find_file("app.py")
        return {"app": {"source": os.path.relpath(usual), "config": {}, "mount": "/"} if usual else None}
    try:
        import tomllib  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        # Before Python 3.11; `kennel test` reads the file itself.
        return {}
    with open(path, "rb") as file:
        settings = tomllib.load(file)
    for app in settings.get("app", []):
        source, _, name = str(app.get("source", "")).partition(":")
        if source.endswith(".lua"):
            continue
        if source.endswith(".py"):
            source = os.path.relpath(os.path.join(os.path.dirname(path), source))
        # Dates of TOML become text, as they do in the program.
        config = json.loads(json.dumps(app.get("config", {}), default=str))
        return {"app": {"source": source, "object": name, "config": config, "mount": app.get("mount", "/")}}
    return {}


def _find_file(name: str) -> Optional[str]:
    folder = os.getcwd()
    while True:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
