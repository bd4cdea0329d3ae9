"""app.channel(): what a script says of live connections, checked at its line."""

from __future__ import annotations

import inspect
import re
from typing import Any, Callable, Dict, List, Optional

from .. import _native

CALLBACKS = ("open", "message", "close")
_OTHER_PATHS = re.compile(r"@[^\s{}\x00-\x1f]+|<[\w.:-]+")


def is_async(function: Any) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _texts(value: Any) -> Optional[str]:
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return None
    return "a list of texts"


def _bytes(value: Any) -> Optional[str]:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 2**53:
        return None
    return "a number of bytes, 1 or more"


def _seconds(value: Any) -> Optional[str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return None
    return "a number of seconds; 0 means none"


def _flag(value: Any) -> Optional[str]:
    return None if isinstance(value, bool) else "True or False"


def _slow(value: Any) -> Optional[str]:
    return None if value in ("wait", "drop_oldest", "close") else 'one of "wait", "drop_oldest", "close"'


OPTIONS: Dict[str, Callable[[Any], Optional[str]]] = {
    "buffer": _bytes,
    "deflate": _flag,
    "max_message": _bytes,
    "origins": _texts,
    "ping": _seconds,
    "protocols": _texts,
    "slow": _slow,
}


def unknown(what: str, word: str, known: List[str]) -> str:
    """A word in a message, with the known one that it resembles."""
    near = _native.nearest(word, known)
    hint = f"; did you mean `{near}`?" if near else ""
    return f"{what} `{word}`; there are {', '.join(known)}{hint}"


class Channel:
    """One channel as it was registered."""

    def __init__(self, path: str, place: str, options: Dict[str, Any]) -> None:
        self.path = path
        self.place = place
        self.options = options
        self.names: List[str] = []
        self.run: Any = None
        self.open: Any = None
        self.message: Any = None
        self.close: Any = None
        self.handler = 0

    @property
    def title(self) -> str:
        return f"channel `{self.path}` ({self.place})"

    @property
    def straight(self) -> bool:
        return self.run is not None

    def is_async(self) -> bool:
        """Whether any of it needs an event loop."""
        return any(map(is_async, filter(None, (self.run, self.open, self.message, self.close))))

    def spec(self) -> Dict[str, Any]:
        """What the hub is told of it."""
        spec: Dict[str, Any] = {
            "path": self.path,
            "handler": self.handler,
            "place": self.place,
            "straight": self.straight,
            "origins": [],
            "protocols": [],
            "max_message": 1 << 20,
            "ping": 30.0,
            "deflate": False,
            "slow": "wait",
            "buffer": 1 << 20,
        }
        spec.update(self.options)
        spec["origins"], spec["protocols"] = list(spec["origins"]), list(spec["protocols"])
        return spec


def declare(table: _native.RouteTable, known: List[Channel], path: str, options: Dict[str, Any], place: str) -> Channel:
    """Checks path and options."""
    if not isinstance(path, str):
        raise TypeError(f"a channel's path is text, not {type(path).__name__}")
    for name, value in options.items():
        check = OPTIONS.get(name)
        if check is None:
            raise TypeError(f"channel `{path}`: " + unknown("there is no option", name, sorted(OPTIONS)))
        wanted = check(value)
        if wanted:
            raise TypeError(f"channel `{path}`: option `{name}` is {wanted}")
    for other in known:
        if other.path == path:
            raise ValueError(f"channel `{path}` is registered already ({other.place})")
    channel = Channel(path, place, options)
    if path.startswith("/"):
        channel.names = table.add(["CHANNEL"], path, len(known), place)
    elif not _OTHER_PATHS.fullmatch(path):
        raise ValueError(
            f"channel `{path}`: a path is `/path` for WebSockets, `@name` for JSON sockets or `<tag` for XML sockets"
        )
    return channel


def set_handlers(channel: Channel, given: Any) -> None:
    """Takes a class of callbacks, an object of one, or straight-line code."""
    path = channel.path
    if inspect.isclass(given):
        try:
            handlers = given()
        except TypeError as problem:
            raise TypeError(f"channel `{path}`: cannot make a {given.__name__}: {problem}") from problem
    elif is_async(given):
        channel.run = given
        return
    elif inspect.isfunction(given):
        raise TypeError(f"channel `{path}`: straight-line code is an `async def`; callbacks go into a class")
    else:
        handlers = given
    found = [name for name in CALLBACKS if getattr(handlers, name, None) is not None]
    for name in found:
        if not callable(getattr(handlers, name)):
            raise TypeError(
                f"channel `{path}`: callback `{name}` is a {type(getattr(handlers, name)).__name__}, no function"
            )
    public = [name for name, value in vars(type(handlers)).items() if not name.startswith("_") and callable(value)]
    for name in public:
        near = _native.nearest(name, list(CALLBACKS)) if name not in CALLBACKS else None
        if near and near not in found:
            raise TypeError(f"channel `{path}`: " + unknown("there is no callback", name, list(CALLBACKS)))
    if not found:
        raise TypeError(f"channel `{path}`: its class has none of the callbacks open, message and close")
    for name in found:
        setattr(channel, name, getattr(handlers, name))
