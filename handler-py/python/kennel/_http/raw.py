"""The raw level: messages as Mongrel2 sent them, bytes to any connection."""

from __future__ import annotations

from typing import Dict, Iterable, List, NamedTuple, Union

from .. import _native
from .._runtime import state


class Message(NamedTuple):
    """A message of Mongrel2. A header's value is text, or a list of texts when it came several times."""

    sender: str
    conn_id: int
    path: str
    headers: Dict[str, Union[str, List[str]]]
    body: bytes


def deliver(sender: str, ids: Iterable[int], payload: bytes) -> None:
    """Sends bytes to connections of a server; longer lists than Mongrel2 takes are split."""
    if not isinstance(payload, bytes):
        raise TypeError(f"kennel.deliver takes bytes, not {type(payload).__name__}")
    _native.deliver(state.link(), sender, list(ids), payload)


def disconnect(sender: str, ids: Iterable[int]) -> None:
    """Closes connections of a server."""
    _native.deliver(state.link(), sender, list(ids), None)
