"""Rooms and connections by name, over all workers."""

from __future__ import annotations

from typing import Any, List, Optional

from .. import _native
from .._runtime import json, state
from . import orders
from .conn import Connection


class Room:
    """A room, which exists while it has members."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a room's name is text, not {type(name).__name__}")
        _native.room_name(name)
        self.name = name

    def __repr__(self) -> str:
        return f"<room {self.name}>"

    def send(self, message: Any, *, except_: Optional[Connection] = None) -> None:
        """Sends a message to everybody in it, but one connection if given. Never blocks."""
        if except_ is None:
            number = 0
        elif isinstance(except_, _native.Wire):
            number = except_._number
        else:
            raise TypeError(f"`except_` is a connection, not {type(except_).__name__}")
        _native.publish(state.link(), self.name, message, number)

    def count(self) -> int:
        """How many are in it. Asks the hub, and waits for its answer."""
        return int(json.decode(_native.ask(state.worker(), "count", self.name)))

    def members(self) -> List[Connection]:
        """Who is in it. Asks the hub, and waits for its answer."""
        found = json.decode(_native.ask(state.worker(), "members", self.name))
        return [orders.handle(*member) for member in found]

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes all connections in it."""
        _native.close_room(state.link(), self.name, code, reason)


def room(name: str) -> Room:
    """The room of this name."""
    return Room(name)


def connection(id: str) -> Optional[Connection]:
    """The connection with this `id`, whichever worker has it; `None` when it has ended."""
    if not isinstance(id, str):
        raise TypeError(f"kennel.connection takes an id, which is text, not {type(id).__name__}")
    here = orders.by_id(id)
    if here is not None:
        return here
    found = json.decode(_native.ask(state.worker(), "connection", id))
    return None if found is None else orders.handle(*found)
