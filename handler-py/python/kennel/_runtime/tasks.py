"""Coroutines: the first step of each runs at once and without a task, the rest in the worker's event loop.

Most handlers that are `async def` never wait for anything, or not every time. A task for each would cost more than the
handler. So Kennel takes the first step itself. When that was the last, all is done. When the coroutine waits,
a *carrier* takes over: a task that was made beforehand, and that was the current task during the first step
already, so that `asyncio.current_task()`, `asyncio.timeout()` and libraries that build on them see one task from
beginning to end.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import selectors
import sys
import sysconfig
import threading
import time
import types
import weakref
from typing import Any, Callable, Coroutine, Dict, Generator, List, NamedTuple, Optional, Tuple

from . import log, state, traceback

Done = Callable[[Any], None]
Failed = Callable[[BaseException], None]

_loop: Optional[asyncio.AbstractEventLoop] = None
_carrier: Optional[_Carrier] = None
#: What was spawned before there was a loop.
_early: List[_Spawned] = []


#: What a stop waits for beside requests, each with its function: spawned tasks, raw messages, runs of timers.
_work: Dict[object, Tuple[str, Any]] = {}
#: Called in the loop's thread when, after a stop, something of it has ended.
_rested: Optional[Callable[[], None]] = None

#: Where libraries are, and asyncio itself.
_LIBRARIES = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
#: The app's file or package, which may be among the libraries.
_own = ""

#: This code belongs to a service: it was started while the script loaded, or by a start hook, the lifespan or another
#: service. Services run for as long as the worker serves, like timers, and a stop does not wait for them.
_is_service: contextvars.ContextVar[bool] = contextvars.ContextVar("kennel service", default=False)
#: Tasks of services, and of libraries for themselves: what watches or keeps alive often never ends.
_service_tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()


def make_loop() -> asyncio.AbstractEventLoop:
    """The worker's event loop: uvloop's where that is installed."""
    global _loop
    if _loop is None:
        try:
            import uvloop  # type: ignore[import-not-found, unused-ignore]

            _loop = uvloop.new_event_loop()
            _watch_by_time(_loop)
        except ImportError:
            _loop = asyncio.SelectorEventLoop(_Watched())
        _loop.set_task_factory(_make_task)
        asyncio.set_event_loop(_loop)
    return _loop


#: How often a loop wakes up while jobs wait for a thread.
_ALIVE = 0.2


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Makes a task, and remembers whether that is a service's or a library's."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    if _is_service.get() or _is_librarys(_caller()):
        _service_tasks.add(task)
    return task


def _caller() -> str:
    """The file that has asked asyncio for a task."""
    # A loop that is written in C has no frame.
    frame: Optional[types.FrameType] = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == _caller.__code__.co_filename:
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename.startswith(_ASYNCIO):
        frame = frame.f_back
    return "" if frame is None else frame.f_code.co_filename


def _is_librarys(file: str) -> bool:
    if _own and file.startswith(_own):
        return False
    return file.startswith(_LIBRARIES) or "site-packages" in file or "dist-packages" in file


def set_own(module: types.ModuleType) -> None:
    """The app is this module, or in this package."""
    global _own
    path = getattr(module, "__path__", None)
    _own = os.path.join(next(iter(path)), "") if path else getattr(module, "__file__", None) or ""


def as_service(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function whose tasks are services."""
    context = contextvars.copy_context()
    context.run(_is_service.set, True)
    return context.run(function, *arguments)


def leave_service() -> None:
    """What comes from here on does not count as a service, whatever called it."""
    _is_service.set(False)


def on_rest(rested: Callable[[], None]) -> None:
    """From now on `rested()` is called when, after a stop, a task has ended."""
    global _rested
    _rested = rested


def hold(what: str, function: Any) -> Callable[[], None]:
    """A stop waits for a run of this function. Gives what is to be called at its end."""
    key = object()
    _work[key] = what, function

    def release() -> None:
        if _work.pop(key, None) is not None and _rested is not None and state.worker().stopping:
            _rested()

    return release


def is_held() -> bool:
    """Whether a stop waits for something."""
    return bool(_work)


def held() -> List[str]:
    """Names of what a stop waits for."""
    return sorted(f"{what} {name_of(function)}" for what, function in list(_work.values()))


def name_of(function: Any) -> str:
    """A function's name and place."""
    name = getattr(function, "__qualname__", None) or type(function).__name__
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"`{name}`" + (f" at {traceback.shorten(code.co_filename)}:{code.co_firstlineno}" if code else "")


def _is_carrier(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "cr_code", None) is _Carrier._run.__code__


def of_script(loop: asyncio.AbstractEventLoop) -> List[asyncio.Task[Any]]:
    """Tasks that a script has made for its work by itself."""
    tasks = asyncio.all_tasks(loop)
    return [task for task in tasks if task not in _service_tasks and not _is_carrier(task)]


def carriers_at_work(loop: asyncio.AbstractEventLoop) -> List[asyncio.Task[Any]]:
    """Tasks that wait with a handler, a spawned task or a timer; not those of services."""
    return [task for task in asyncio.all_tasks(loop) if _is_carrier(task) and task not in _service_tasks]


def task_name(task: asyncio.Task[Any]) -> str:
    """A task's name, the function that it runs and the place of that."""
    coroutine: Any = task.get_coro()
    code = getattr(coroutine, "cr_code", None)
    place = f" at {traceback.shorten(code.co_filename)}:{code.co_firstlineno}" if code else ""
    what = getattr(coroutine, "__qualname__", None) or type(coroutine).__name__
    return f"the task {task.get_name()} of `{what}`{place}"


class _Watched(selectors.DefaultSelector):
    """Tells the hub when the loop is at work, and when it waits: a script that does not come back within
    `limits.script_time` is seen wherever in the loop it runs."""

    def select(self, timeout: Optional[float] = None) -> List[Tuple[selectors.SelectorKey, int]]:
        worker = state.worker()
        if worker.sleeps():
            timeout = _ALIVE if timeout is None else min(timeout, _ALIVE)
        try:
            return super().select(timeout)
        finally:
            worker.wakes()


#: How often a loop shows that it is alive whose waits cannot be seen.
_BEAT = 1.0


def _watch_by_time(loop: asyncio.AbstractEventLoop) -> None:
    """The same for loops that have no selector: when a beat stays out, a thread says that the loop is at work."""
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        last = time.monotonic()
        state.worker().sleeps()
        loop.call_later(_BEAT, beat)

    def watch() -> None:
        while True:
            time.sleep(_BEAT)
            if time.monotonic() - last > 2 * _BEAT:
                state.worker().wakes()

    loop.call_soon(beat)
    threading.Thread(target=watch, name="kennel-watch", daemon=True).start()


def has_loop() -> bool:
    """Whether the event loop runs."""
    return _loop is not None and _loop.is_running()


class _Carrier:
    """A task that waits for a coroutine to go on with."""

    __slots__ = ("box", "task", "work")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.box = loop.create_future()
        self.work: Optional[Tuple[Any, ...]] = None
        self.task = asyncio.Task(self._run(), loop=loop)

    async def _run(self) -> None:
        problem: Optional[BaseException] = None
        try:
            await self.box
        except asyncio.CancelledError as cancelled:
            # Somebody cancelled the current task in the coroutine's first step.
            problem = cancelled
        if self.work is not None:
            await _drive(problem, *self.work)

    def take(self, *work: Any) -> None:
        self.work = work
        if not self.box.done():
            self.box.set_result(None)


@types.coroutine
def _drive(
    problem: Optional[BaseException],
    coroutine: Coroutine[Any, Any, Any],
    context: contextvars.Context,
    waits_for: Any,
    serial: Callable[[], int],
    done: Done,
    failed: Failed,
) -> Generator[Any, Any, None]:
    """Goes on with a coroutine that waits for something."""
    worker = state.worker()
    step: Tuple[Any, Any]
    while True:
        if problem is None:
            try:
                step = coroutine.send, (yield waits_for)
            except BaseException as raised:
                step = coroutine.throw, raised
        else:
            step, problem = (coroutine.throw, problem), None
        worker.step(serial())
        try:
            waits_for = context.run(*step)
        except StopIteration as stop:
            done(stop.value)
            return
        except BaseException as raised:
            failed(raised)
            return
        finally:
            worker.step_end()


def start(
    coroutine: Coroutine[Any, Any, Any], serial: Callable[[], int], done: Done, failed: Failed
) -> Optional[asyncio.Task[Any]]:
    """Runs a coroutine for the job of this number: its first step now, the rest in the loop, in this task."""
    context = contextvars.copy_context()
    try:
        waits_for = context.run(coroutine.send, None)
    except StopIteration as stop:
        done(stop.value)
    except BaseException as problem:
        failed(problem)
    else:
        return carry(coroutine, context, waits_for, serial, done, failed)
    return None


def carry(
    coroutine: Coroutine[Any, Any, Any],
    context: contextvars.Context,
    waits_for: Any,
    serial: Callable[[], int],
    done: Done,
    failed: Failed,
) -> Optional[asyncio.Task[Any]]:
    """Hands a coroutine that waits to the carrier, whose task it began in, and lets another one take its place."""
    global _carrier
    loop = _loop
    if loop is None or not loop.is_running():
        coroutine.close()
        failed(RuntimeError("this handler waits for something, but its worker has no event loop"))
        return None
    carrier = _carrier
    if carrier is None or asyncio.current_task(loop) is not carrier.task:
        # Started from within another task, which goes on by itself.
        carrier = _new_carrier(loop)
        _carry_by(carrier, coroutine, context, waits_for, serial, done, failed)
        return carrier.task
    _carry_by(carrier, coroutine, context, waits_for, serial, done, failed)
    asyncio.tasks._leave_task(loop, carrier.task)
    _carrier = _new_carrier(loop)
    asyncio.tasks._enter_task(loop, _carrier.task)
    return carrier.task


def _carry_by(carrier: _Carrier, coroutine: Any, context: contextvars.Context, *work: Any) -> None:
    if context.get(_is_service, False):
        _service_tasks.add(carrier.task)
    carrier.take(coroutine, context, *work)


def _new_carrier(loop: asyncio.AbstractEventLoop) -> _Carrier:
    """A carrier whose own context is empty: it may be made by a service, and carry something else later."""
    return contextvars.Context().run(_Carrier, loop)


def in_carrier(function: Callable[[], Any]) -> Any:
    """Calls a function in which first steps are taken: the current task is the carrier's."""
    global _carrier
    loop = make_loop()
    if asyncio.current_task(loop) is not None:
        return function()
    if _carrier is None or _carrier.box.done():
        _carrier = _new_carrier(loop)
    asyncio.tasks._enter_task(loop, _carrier.task)
    try:
        return function()
    finally:
        asyncio.tasks._leave_task(loop, _carrier.task)


def log_failure(problem: BaseException) -> None:
    """A task of nobody failed: the log is all that learns of it."""
    failure = traceback.describe(problem)
    lines = "".join("\n    " + line for line in failure.traceback.splitlines())
    log.write("error", f"a task failed: {failure}{lines}")


def _nobody() -> int:
    return 0


def guard(function: Any, *arguments: Any, then: Optional[Callable[[], None]] = None) -> None:
    """Calls a function or coroutine function of nobody's; its error goes to the log and nowhere else."""

    def done(_: Any) -> None:
        if then is not None:
            then()

    def failed(problem: BaseException) -> None:
        if not (state.cutting and isinstance(problem, asyncio.CancelledError)):
            log_failure(problem)
        done(None)

    try:
        result = function(*arguments)
    except BaseException as problem:
        failed(problem)
        return
    if isinstance(result, types.CoroutineType):
        start(result, _nobody, done, failed)
    else:
        done(None)


def spawn(function: Any, *arguments: Any) -> None:
    """Runs a function or coroutine function soon, beside requests. Its error is logged, and a stop waits for its end,
    unless it is started while the script loads or by a start hook."""
    if not callable(function):
        raise TypeError(f"kennel.spawn takes a function, not {type(function).__name__}")
    is_service = _is_service.get() or not state.serves
    release = None if is_service else hold("the spawned task", function)
    _run_soon(_Spawned(function, arguments, release, is_service))


class _Spawned(NamedTuple):
    function: Any
    arguments: Tuple[Any, ...]
    #: To be called at its end.
    release: Optional[Callable[[], None]]
    is_service: bool


def _run_soon(spawned: _Spawned) -> None:
    if _loop is not None and _loop.is_running():
        _loop.call_soon_threadsafe(_run_spawned, spawned)
    else:
        _early.append(spawned)
        if state.has_worker():
            state.worker().want_loop()


def _run_spawned(spawned: _Spawned) -> None:
    _is_service.set(spawned.is_service)
    in_carrier(lambda: guard(spawned.function, *spawned.arguments, then=spawned.release))
    state.worker().check_fork()


def run_early() -> None:
    """Starts what was spawned before there was a loop."""
    waiting = _early[:]
    _early.clear()
    for spawned in waiting:
        _run_soon(spawned)


def start_timer(seconds: float, function: Any) -> None:
    """Calls a function every so often from now on."""
    _run_soon(_Spawned(keep_time, (seconds, function), None, False))


def has_early() -> bool:
    return bool(_early)


async def keep_time(seconds: float, function: Any) -> None:
    """Calls a function every so often. A run that took too long skips the ones it missed. After a stop none begins."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        if state.worker().stopping:
            return
        finished = asyncio.Event()
        release = hold("the timer", function)
        guard(function, then=finished.set)
        await finished.wait()
        release()
        due = max(due + seconds, loop.time())


if sys.version_info < (3, 10):
    # Locks and queues that a script makes while it is loaded belong to the loop of that moment.
    early_loop = make_loop
else:

    def early_loop() -> None:
        """Nothing is bound to a loop before it is used."""
