"""What serves an app, whatever its interface: the registration, threads, the event loop, the end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

from .. import _native
from .._live import orders
from .._runtime import json, log, state, tasks, traceback
from . import error_page, evaluate

#: Seconds that a task has to end when the worker does.
_LAST_WORD = 0.5


class Server:
    """What all interfaces have in common: threads, the event loop, the end."""

    def __init__(self, worker: _native.Worker) -> None:
        self.worker = worker
        #: Nothing is waited for any more; the stop hooks have begun; how the loop ends.
        self._ending = self._ended = False
        self._end: Any = None
        #: After a stop, tasks whose end is noticed; what waits for those that were cancelled.
        self._watched: Optional[weakref.WeakSet[asyncio.Task[Any]]] = None
        self._cutting: Optional[asyncio.Task[None]] = None

    # What an interface says of itself.

    needs_loop = False
    threads = 0
    #: Nothing that the hub orders runs in the main thread.
    all_in_threads = False

    def prepare(self, then: Callable[[], None]) -> None:
        """Does in the event loop what comes before `ready`, where there is one."""
        then()

    def ready(self) -> None:
        """Tells the hub what there is, and takes its orders from then on."""
        raise NotImplementedError

    def begin(self) -> None:
        """Runs once, before the first request."""

    def lead(self) -> None:
        """This worker runs the app's timers."""

    def end(self) -> None:
        """Runs once, after the last request; what it waits for is held by `worker.hold`."""

    # What they share.

    def announce(
        self,
        registration: str,
        handlers: List[Tuple[Any, List[str], str]],
        pages: List[Optional[Tuple[Any, str]]],
        **runtime: Any,
    ) -> None:
        """Makes the worker ready, with the functions that this interface does not replace."""
        functions: Dict[str, Any] = {
            "finish": self._unexpected,
            "failed": self._unexpected,
            "carry": self._unexpected,
            "raw": self._unexpected,
            "open": orders.open,
            "message": orders.message,
            "message_failed": orders.message_failed,
            "close": orders.close,
            "detach": orders.detach,
            "lead": self.lead,
            "stop": self._stop,
            "evaluate": self.evaluate,
            "to_json": json.encode,
            "copy_context": contextvars.copy_context,
            "compress": False,
        }
        functions.update(runtime)
        self._limit_memory()
        self.worker.ready(registration, handlers, pages, functions)

    def evaluate(self, query: int, code: str) -> None:
        """Runs code of the operator's."""
        evaluate.evaluate(self.worker, query, code)

    def _unexpected(self, *_: Any) -> None:
        """The hub orders nothing of this kind."""

    def _limit_memory(self) -> None:
        """Lets scripts use so much memory beside what is in use already: beyond, Python raises MemoryError."""
        if not self.worker.memory:
            return
        import resource

        with open("/proc/self/status", encoding="ascii") as status:
            used = next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:")), 0)
        # Each thread has a stack that is reserved whole.
        limit = used + self.worker.memory + self.threads * (8 << 20)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))

    def serve(self) -> None:
        """Serves until the hub says stop, or is gone."""
        worker = self.worker
        for number in range(self.threads):
            threading.Thread(target=worker.serve_thread, name=f"kennel-{number + 1}", daemon=True).start()
        if self.needs_loop or tasks.has_early():
            self._serve_loop()
            return
        self.ready()
        self.begin()
        state.serves = True
        if tasks.has_early() or worker.run(self.all_in_threads):
            self._serve_loop(ready=True)
        elif worker.stopping:
            self._name_cut_off(worker.busy_threads())
            self.end()
            worker.flush()

    def _serve_loop(self, ready: bool = False) -> None:
        loop = tasks.make_loop()
        self.enter_loop(loop, ready)
        try:
            loop.run_until_complete(self._end)
        finally:
            loop.remove_reader(self.worker.fileno())
        # What services have left behind, as `asyncio.run` does it.
        state.cutting = True
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_LAST_WORD))
        with contextlib.suppress(OSError):
            self.worker.flush()

    def enter_loop(self, loop: asyncio.AbstractEventLoop, ready: bool = False) -> None:
        """Begins to serve in an event loop, as soon as that runs."""
        worker = self.worker
        worker.want_loop()
        self._end = loop.create_future()
        worker.set_flush_soon(self._flush_soon, self._wake)
        tasks.on_rest(self.look_soon)

        def start() -> None:
            try:
                tasks.leave_service()
                if not ready:
                    self.ready()
                    self.begin()
                    state.serves = True
                loop.add_reader(worker.fileno(), self._turn)
                worker.flush()
                tasks.run_early()
            except BaseException as problem:
                self._finish(problem)
                return
            # Orders may have been read before.
            self._turn()

        def prepare() -> None:
            self.prepare(lambda: tasks.in_carrier(start))

        loop.call_soon(start if ready else prepare)

    def _turn(self) -> None:
        try:
            alive = self.obey()
        except BaseException as problem:
            self._finish(problem)
            return
        if not alive:
            self._finish()
        elif self.worker.stopping:
            self._check_over()

    def obey(self) -> bool:
        """Does what the hub has ordered. `False`: it is gone."""
        return bool(tasks.in_carrier(self.worker.turn))

    def _flush_soon(self) -> None:
        tasks.make_loop().call_soon(self._flush)

    def _flush(self) -> None:
        try:
            self.worker.flush()
        except OSError:
            # The next turn finds the hub gone.
            return
        if self.worker.stopping:
            self._check_over()

    def _wake(self) -> None:
        """After a stop, a thread has ended what it did."""
        with contextlib.suppress(RuntimeError):
            # Of a loop that is closed.
            tasks.make_loop().call_soon_threadsafe(self._check_over)

    # The end.

    def _stop(self) -> None:
        """The hub has said stop."""

    def busy(self) -> bool:
        """Whether something runs that a stop waits for."""
        return not self.worker.is_over() or tasks.is_held() or bool(self.tasks())

    def names(self) -> List[str]:
        """What runs that a stop waits for, except requests that are not answered: the hub names those."""
        return [*self.worker.busy_threads(), *tasks.held(), *map(tasks.task_name, self.tasks())]

    def tasks(self) -> List[asyncio.Task[Any]]:
        """Tasks that a stop waits for, made by the script."""
        return tasks.of_script(tasks.make_loop())

    def cancel(self) -> List[asyncio.Task[Any]]:
        """Tasks that are cancelled when they have not ended in time."""
        return [*self.tasks(), *tasks.carriers_at_work(tasks.make_loop())]

    def look_soon(self) -> None:
        """After a stop, something has ended."""
        tasks.make_loop().call_soon(self._check_over)

    def _watch_time(self) -> None:
        """Begins to watch how long what runs takes, and the stop hooks after it."""
        if self._watched is not None:
            return
        self._watched = weakref.WeakSet()
        loop = tasks.make_loop()
        left, hooks = self.worker.times_left()
        loop.call_later(left, self._cut_off, hooks)
        # The hub kills a worker that takes longer.
        loop.call_later(left + hooks * 0.8, self._give_up)

    def _name_cut_off(self, names: List[str]) -> None:
        for name in names:
            log.write("warn", f"cut off: {name} did not end within limits.stop_time")

    def _cut_off(self, hooks: float) -> None:
        """The time of what runs is over: it is cancelled, and then the stop hooks run."""
        if self._ending:
            return
        self._ending = True
        self._name_cut_off(self.names())
        state.cutting = True
        left = self.cancel()
        for task in left:
            task.cancel()

        async def then() -> None:
            if left:
                await asyncio.wait(left, timeout=hooks / 4)
            tasks.make_loop().call_soon(self._begin_end)

        self._cutting = asyncio.Task(then(), loop=tasks.make_loop())

    def _give_up(self) -> None:
        if self.worker.held:
            log.write("warn", "cut off: a stop hook or the lifespan's shutdown did not end within limits.hook_time")
        self._finish()

    def _check_over(self) -> None:
        if self._end is None or self._end.done() or not self.worker.stopping:
            return
        self._watch_time()
        if not self._ending:
            if self.busy():
                self._watch_tasks()
                return
            self._ending = True
            self._begin_end()
        elif self._ended:
            self._check_hooks()

    def _watch_tasks(self) -> None:
        """The end of the last task is the end of the worker."""
        assert self._watched is not None
        for task in self.tasks():
            if task not in self._watched:
                self._watched.add(task)
                task.add_done_callback(lambda _: self.look_soon())

    def _begin_end(self) -> None:
        self._ended = True
        tasks.in_carrier(self.end)
        self._check_hooks()

    def _check_hooks(self) -> None:
        if not self.worker.held:
            with contextlib.suppress(OSError):
                self.worker.flush()
            self._finish()

    def release(self) -> None:
        """What the end waited for is done."""
        self.worker.release()
        if self.worker.stopping and self._end is not None:
            self.look_soon()

    def log(self, title: str, problem: BaseException, fields: Optional[Dict[str, Any]] = None) -> Optional[str]:
        """Logs the failure of a request; under `kennel dev`, gives the page that shows it."""
        failure = traceback.describe(problem)
        lines = "".join("\n    " + line for line in failure.traceback.splitlines())
        log.write("error", f"{title} failed: {failure}{lines}", fields)
        return error_page.of_failure(title, failure) if self.worker.dev else None

    def _finish(self, problem: Optional[BaseException] = None) -> None:
        if self._end is not None and not self._end.done():
            if problem is None:
                self._end.set_result(None)
            else:
                self._end.set_exception(problem)
