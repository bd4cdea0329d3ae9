"""JSON as Kennel writes and reads it: compact, UTF-8, no NaN."""

from __future__ import annotations

import json
from typing import Any, Iterable, Tuple

#: What is sent as it is, beside bytes.
BINARY = (bytearray, memoryview)

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(value: Any) -> str:
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as problem:
        kind = RecursionError if isinstance(problem, RecursionError) else type(problem)
        place = "" if kind is RecursionError else _place(value)
        raise kind(f"cannot write JSON{place}: {problem}") from None


def _place(value: Any) -> str:
    """Where in a value that cannot be written is what cannot be: ` of a.b[2]`."""
    path, seen = "", {id(value)}
    while True:
        pairs: Iterable[Tuple[str, Any, Any]] = ()
        if isinstance(value, dict):
            pairs = ((f".{key}", {key: one}, one) for key, one in value.items())
        elif isinstance(value, (list, tuple)):
            pairs = ((f"[{index}]", one, one) for index, one in enumerate(value))
        found = next(((name, inner) for name, alone, inner in pairs if not _can_be_written(alone)), None)
        if found is None:
            return f" of {path.lstrip('.')}" if path else ""
        name, value = found
        path += name
        if id(value) in seen:
            return f" of {path.lstrip('.')}"
        seen.add(id(value))


def _can_be_written(value: Any) -> bool:
    try:
        _encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


decode = json.loads
