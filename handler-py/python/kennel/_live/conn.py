"""The connection as scripts see it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, List, Optional, Set

from .. import _native
from .._runtime import json, state

if TYPE_CHECKING:
    from .._app.channel import Channel

#: In a connection's queue, behind its messages: it has ended.
END = object()


class HttpConnection:
    """The connection of an HTTP request, which is answered by what its handler returns."""

    transport = "http"

    def __init__(self, id: str, request: _native.Request) -> None:
        self.id = id
        self.request = request

    def __getattr__(self, name: str) -> Any:
        if name in ("send", "join", "leave", "close"):
            raise AttributeError(
                f"conn.{name} is for channels; an HTTP request is answered by what its handler returns"
            )
        raise AttributeError(name)


class Connection(_native.Wire):
    """A live connection. Attributes of a script's own may be set; they stay in this worker."""

    #: The opening request; `None` for connections of other workers.
    request: Optional[_native.Request] = None
    #: The worker got this connection from another one, or from a hub that is gone.
    resumed = False
    #: Why it ended, once it has.
    close_code: Optional[int] = None
    close_reason: Optional[str] = None

    # Kennel's own, of connections that this worker has.
    _channel: Optional[Channel] = None
    _owned = False
    _rooms: Set[str]
    _data: Any = None
    _data_text: Optional[str] = None
    #: What came while a callback ran: (serial, message), or (serial, END) for the end.
    _queue: Optional[Deque[Any]] = None
    #: The client has gone while the script still wanted its messages.
    _gone = False
    #: The serial of the end, once the script was told of it.
    _over = 0
    #: Straight-line code: its task, the serial of its message, whoever waits for the next, and whether it has ended.
    _task: Optional[asyncio.Task[Any]] = None
    _serial = 0
    _waiter: Optional[asyncio.Future[Any]] = None
    _finished = False

    def __repr__(self) -> str:
        return f"<connection {self.id}>"

    def join(self, room: str) -> bool:
        """Puts it into a room. `False`: it is closed."""
        joined = self._join(room)
        if joined and self._owned:
            self._rooms.add(room)
        return joined

    def leave(self, room: str) -> bool:
        """Takes it out of a room. `False`: it is closed."""
        left = self._leave(room)
        if left and self._owned:
            self._rooms.discard(room)
        return left

    def rooms(self) -> List[str]:
        """The rooms that it is in, sorted."""
        if self._owned:
            return sorted(self._rooms)
        return sorted(json.decode(_native.ask(state.worker(), "rooms", str(self._number))))

    @property
    def data(self) -> Any:
        """What the hub keeps for it, at most 4 KiB of JSON; assign to change it."""
        if not self._owned:
            found = json.decode(_native.ask(state.worker(), "data", str(self._number)))
            return {} if found is None else found
        if self._data is None:
            found = json.decode(self._data_text) if self._data_text else None
            self._data = {} if found is None else found
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._set_data(json.encode(value))
        if self._owned:
            self._data = {} if value is None else value

    # Straight-line code.

    async def receive(self, timeout: Optional[float] = None) -> Any:
        """The next message; `None` when the connection has ended. For straight-line code.

        Raises `asyncio.TimeoutError` when none has come within `timeout` seconds.
        """
        if self._channel is None or not self._channel.straight:
            raise RuntimeError("messages are for channels with straight-line code; here they come to `message`")
        if self._waiter is not None:
            raise RuntimeError("something else waits for this connection's messages already")
        if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout >= 0):
            raise ValueError("conn.receive takes a number of seconds, 0 or more")
        if self._serial:
            state.worker().done(self._serial)
            self._serial = 0
        if self._over or self._finished:
            return None
        entry = self._dequeue()
        if entry is not None:
            if entry[1] is END:
                self._over = entry[0]
                return None
            self._serial = entry[0]
            return entry[1]
        return await self._wait(timeout)

    async def _wait(self, timeout: Optional[float]) -> Any:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        if not self._owned:
            # It goes on in another worker.
            await waiter
        timer = None
        if timeout is not None:
            timer = loop.call_later(timeout, self._time_out, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and self._serial:
                # The message had come already, and its reader was cancelled before it could take it.
                self._put_back(self._serial, waiter.result())
                self._serial = 0
            raise
        finally:
            if self._waiter is waiter:
                self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self, message: Any) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(message)

    def _time_out(self, waiter: asyncio.Future[Any]) -> None:
        if not waiter.done():
            if self._waiter is waiter:
                self._waiter = None
            waiter.set_exception(asyncio.TimeoutError("no message has come in time"))

    def messages(self) -> Connection:
        """The connection itself: `async for message in conn.messages()`."""
        return self

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> Any:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    # What waits for the script.

    def _enqueue(self, entry: Any) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append(entry)

    def _put_back(self, serial: int, message: Any) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.appendleft((serial, message))

    def _dequeue(self) -> Any:
        """The next of what waits that is for the script: nothing is, once it has closed the connection, but the end."""
        while self._queue:
            entry = self._queue.popleft()
            if entry[1] is END or self._open or self._gone:
                return entry
            state.worker().done(entry[0])
        return None
