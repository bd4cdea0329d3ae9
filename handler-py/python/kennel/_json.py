"""JSON as Kennel writes and reads it: compact, UTF-8, no NaN."""

from __future__ import annotations

import json
from typing import Any

#: What is sent as it is, beside bytes.
BINARY = (bytearray, memoryview)

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(value: Any) -> str:
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as problem:
        kind = RecursionError if isinstance(problem, RecursionError) else type(problem)
        raise kind(f"cannot write JSON: {problem}") from None


decode = json.loads
