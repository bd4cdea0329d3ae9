"""Server-sent events: what a generator yields, as the lines that a browser's EventSource reads."""

from __future__ import annotations

from typing import Any, Optional

from .. import _native
from .._runtime import json
from .response import Pieces, Response, is_stream, response

_COMMENT = b":\n\n"
_FIELDS = ("event", "data", "id", "retry")


def _text(value: Any) -> Optional[bytes]:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (dict, list, tuple, int, float)):
        return json.encode(value).encode()
    raise TypeError(f"the data of an event is text, a number, a dict or a list, not {type(value).__name__}")


def _encode(given: Any) -> bytes:
    if not isinstance(given, dict):
        given = {"data": given}
    for name in given:
        if name not in _FIELDS:
            raise ValueError(f"an event has `event`, `data`, `id` and `retry`, not `{name}`")
    retry = given.get("retry")
    if retry is not None and (isinstance(retry, bool) or not isinstance(retry, int) or not 0 <= retry <= 2**53):
        raise ValueError("`retry` of an event is a whole number of milliseconds")
    event, data, id = (_text(given.get(name)) for name in ("event", "data", "id"))
    return _native.event(event, data, id, retry)


def events(source: Any, **options: Any) -> Response:
    """A stream of server-sent events: an iterator, an async one, or a function that gives one. It yields text, or
    dicts of `event`, `data`, `id` and `retry`. Options as those of `response`."""
    pieces = source() if callable(source) else source
    if not is_stream(pieces) or isinstance(pieces, Pieces):
        raise TypeError(f"kennel.events takes an iterator or a function that gives one, not {type(source).__name__}")
    made = response(None, **options)
    made.body = Pieces(pieces, _encode, _COMMENT)
    made.headers["content-type"] = "text/event-stream"
    made.headers.setdefault("cache-control", "no-cache")
    return made
