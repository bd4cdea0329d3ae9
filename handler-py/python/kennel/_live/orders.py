"""The hub's orders about connections, and what scripts do with them: callbacks and straight-line code.

Messages of a connection run one after the other. Those that come while a callback waits for something wait too.
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List, Optional

from .. import _native
from .._app.channel import is_async
from .._runtime import log, state, tasks, traceback
from .conn import END, Connection

_live: Dict[int, Connection] = {}
_by_id: Dict[str, Connection] = {}


def by_id(id: str) -> Optional[Connection]:
    """The handle of a connection of this worker."""
    return _by_id.get(id)


def handle(number: int, id: str, transport: str) -> Connection:
    """The handle of a connection that the hub describes."""
    return _live.get(number) or Connection(state.link(), number, id, transport)


def _forget(conn: Connection) -> None:
    if _live.get(conn._number) is conn:
        del _live[conn._number]
        del _by_id[conn.id]
        state.worker().forget_conn(conn._number)


def _hang_up(conn: Connection, code: int, reason: str) -> None:
    """Closes from this side, unless that is done, or the connection has ended or is another worker's."""
    conn._gone = False
    if conn._owned:
        conn.close(code, reason)


def _failed(conn: Connection, what: str, problem: BaseException) -> None:
    if state.cutting and isinstance(problem, asyncio.CancelledError):
        return
    failure = traceback.describe(problem)
    lines = "".join("\n    " + line for line in failure.traceback.splitlines())
    title = conn._channel.title if conn._channel else "a channel"
    log.write("error", f"{what} of {title} failed: {failure}{lines}", {"conn": conn.id})
    _hang_up(conn, 1011, _native.close_reason(state.worker().dev, str(failure)))


def message_failed(conn: Connection, problem: BaseException) -> None:
    _failed(conn, "the message callback", problem)


def open(
    handler: int,
    serial: int,
    number: int,
    fresh: bool,
    resumed: bool,
    asked: bool,
    name: str,
    transport: str,
    data: str,
    rooms: List[str],
    values: List[str],
    request: Any,
) -> None:
    """A connection is this worker's from now on."""
    worker = state.worker()
    app = state.app
    channel = app._channels[handler] if app and handler < len(app._channels) else None
    if channel is None:
        worker.done(serial)
        return
    conn = Connection(worker.link, number, name, transport)
    conn.resumed, conn.request = resumed, request
    conn._channel, conn._owned = channel, True
    conn._rooms, conn._data_text = set(rooms), data
    request._opened(conn, dict(zip(channel.names, values)))
    _live[number], _by_id[name] = conn, conn
    if channel.straight:
        _start_straight(conn, serial)
        return
    if channel.message is not None and not is_async(channel.message):
        worker.adopt(conn, channel.message)
    if fresh and channel.open is not None:
        _run_callback(conn, serial, "the open callback", channel.open, conn)
    else:
        worker.done(serial)


def _run_callback(conn: Connection, serial: int, what: str, callback: Any, *arguments: Any, last: bool = False) -> None:
    """Runs a callback; what comes for the connection meanwhile waits."""

    def ended() -> None:
        conn._set_busy(False)
        if last:
            _forget(conn)
        state.worker().done(serial)
        _catch_up(conn)

    def failed(problem: BaseException) -> None:
        _failed(conn, what, problem)
        ended()

    conn._set_busy(True)
    try:
        result = callback(*arguments)
    except BaseException as problem:
        failed(problem)
        return
    if asyncio.iscoroutine(result):
        tasks.start(result, lambda: serial, lambda _: ended(), failed)
    else:
        ended()


def _catch_up(conn: Connection) -> None:
    while not conn._busy:
        entry = conn._dequeue()
        if entry is None:
            return
        _deliver(conn, *entry)


def _deliver(conn: Connection, serial: int, message: Any) -> None:
    channel = conn._channel
    if message is END:
        _run_close(conn, serial)
    elif channel is not None and channel.message is not None:
        _run_callback(conn, serial, "the message callback", channel.message, conn, message)
    else:
        state.worker().done(serial)


def _run_close(conn: Connection, serial: int) -> None:
    channel = conn._channel
    conn._over = serial
    if channel is None or channel.close is None:
        _forget(conn)
        state.worker().done(serial)
    else:
        code, reason = conn.close_code, conn.close_reason
        _run_callback(conn, serial, "the close callback", channel.close, conn, code, reason, last=True)


def message(number: int, serial: int, payload: Any) -> None:
    """A message for a connection that is busy, or whose callback is no plain function."""
    conn = _live.get(number)
    if conn is None or not conn._open or conn._finished:
        state.worker().done(serial)
    elif conn._channel is not None and conn._channel.straight:
        if conn._waiter is not None:
            conn._serial = serial
            conn._wake(payload)
        else:
            conn._enqueue((serial, payload))
    elif conn._busy:
        conn._enqueue((serial, payload))
    else:
        _deliver(conn, serial, payload)


def close(number: int, serial: int, code: int, reason: str) -> None:
    """A connection has ended."""
    conn = _live.get(number)
    if conn is None:
        state.worker().done(serial)
        return
    # What came before is for the script still, if it did not close the connection itself.
    conn._gone = conn._open
    conn._ended()
    conn.close_code, conn.close_reason = code, reason
    if conn._finished:
        _forget(conn)
        state.worker().done(serial)
    elif conn._channel is not None and conn._channel.straight:
        if conn._waiter is not None:
            conn._over = serial
            conn._wake(None)
        else:
            conn._enqueue((serial, END))
    elif conn._busy:
        conn._enqueue((serial, END))
    else:
        _run_close(conn, serial)


def detach(number: int) -> None:
    """The connection is another worker's. What waits here runs there."""
    conn = _live.get(number)
    if conn is None:
        return
    _forget(conn)
    conn._owned = False
    conn._ended()
    worker = state.worker()
    for serial, _ in conn._queue or ():
        worker.skip(serial)
    conn._queue = None
    # Straight-line code goes on there from its top, and here it ends, unless it is at a message: then at its next wait.
    if conn._task is not None and not conn._serial:
        conn._task.cancel()
    if conn._waiter is not None:
        conn._waiter.cancel()


# Straight-line code.


def _start_straight(conn: Connection, serial: int) -> None:
    worker = state.worker()
    channel = conn._channel
    assert channel is not None

    def ended() -> None:
        conn._finished = True
        if conn._serial:
            worker.done(conn._serial)
            conn._serial = 0
        for waiting, what in conn._queue or ():
            if what is END:
                conn._over = waiting
            else:
                worker.done(waiting)
        conn._queue = None
        if conn._over:
            _forget(conn)
            worker.done(conn._over)

    def done(_: Any) -> None:
        _hang_up(conn, 1000, "")
        ended()

    def failed(problem: BaseException) -> None:
        if isinstance(problem, asyncio.CancelledError) and not conn._owned:
            return
        _failed(conn, "the code", problem)
        ended()

    try:
        coroutine = channel.run(conn)
    except BaseException as problem:
        failed(problem)
    else:
        conn._task = tasks.start(coroutine, lambda: conn._serial or conn._over, done, failed)
    # The opening is done when the code first waits.
    worker.done(serial)
