"""An event loop on made-up time, for tests: it never waits, and stops when nothing is left to be done for now."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, Callable, List, Optional, Tuple

#: Rounds of one run. An app takes a few.
_ROUNDS = 100_000

#: What is due within a microsecond is due: sums of seconds are not exact.
_RESOLUTION = 1e-6


class _Still(selectors.DefaultSelector):
    """Looks, and does not wait."""

    loop: StillLoop

    def select(self, timeout: Optional[float] = None) -> List[Tuple[selectors.SelectorKey, int]]:
        self.loop.look(timeout)
        return super().select(0)


class StillLoop(asyncio.SelectorEventLoop):
    """`passed` gives the made-up time. Work for threads is done at once, in this one."""

    def __init__(self, passed: Callable[[], float]) -> None:
        selector = _Still()
        selector.loop = self
        self.time = passed  # type: ignore[method-assign]
        #: Seconds until something is due; `None`: nothing is.
        self.next: Optional[float] = None
        self._rounds = 0
        self._orders: Optional[Callable[[], Any]] = None
        super().__init__(selector)
        self._clock_resolution = _RESOLUTION

    def look(self, timeout: Optional[float]) -> None:
        """The loop is about to wait for so long."""
        self._rounds += 1
        if self._rounds > _ROUNDS:
            raise RuntimeError("the app does not come to rest: something in its event loop goes on without end")
        if timeout is None or timeout > _RESOLUTION:
            self.next = timeout
            self.stop()

    def rest(self) -> None:
        """Runs what there is to run at this moment, orders of the hub among it."""
        self._rounds, self.next = 0, None
        if self._orders is not None:
            self.call_soon(self._orders)
        outer = asyncio._get_running_loop()
        # A test may be a coroutine itself.
        asyncio._set_running_loop(None)
        try:
            self.run_forever()
        finally:
            asyncio._set_running_loop(outer)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        if fd == -1:
            # The hub, which has no descriptor here.
            self._orders = callback
        else:
            super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: Any) -> Any:
        if fd == -1:
            self._orders = None
            return True
        return super().remove_reader(fd)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as problem:
            done.set_exception(problem)
        return done

    def end(self) -> None:
        """Cancels what is left, and closes."""
        if self.is_closed():
            return
        self._orders = None
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            try:
                self.rest()
            except BaseException:
                # It did not want to end; nobody waits for it.
                pass
        self.close()
