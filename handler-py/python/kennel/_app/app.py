"""kennel.App: what a script registers, and how it becomes what the worker calls."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, Callable, List, Mapping, Optional, Tuple, TypeVar, Union

from .. import _native
from .._http import files
from .._http.response import TEXT, Response, ResponseHeaders, to_response
from .._http.session import checked
from .._runtime import json, traceback
from .channel import Channel, declare, is_async, set_handlers

F = TypeVar("F", bound=Callable[..., Any])

#: The text of the pages that the hub would give, were there no hooks.
_PAGES = {
    "not found": (404, "404 Not Found: there is nothing at this address.\n"),
    "not allowed": (405, "405 Method Not Allowed: this address does not take that method; see the Allow header.\n"),
    "options": (204, ""),
}


def _place(depth: int) -> str:
    frame = sys._getframe(depth + 1)
    return f"{traceback.shorten(frame.f_code.co_filename)}:{frame.f_lineno}"


class Route:
    """One route as it was registered."""

    __slots__ = ("checks_forms", "compress", "function", "handler", "methods", "names", "path", "place", "streams")

    def __init__(
        self, methods: List[str], path: str, function: Any, place: str, names: List[str], checks_forms: bool
    ) -> None:
        self.checks_forms = checks_forms
        self.methods = methods
        self.path = path
        self.function = function
        self.place = place
        self.names = names
        self.handler = 0
        #: Whether its answers may be compressed; `None`: as the app says.
        self.compress: Optional[bool] = None
        #: It reads bodies as they arrive.
        self.streams = False

    @property
    def title(self) -> str:
        return f"{','.join(self.methods)} {self.path} ({self.place})"


class App:
    """What a script answers to. A module has one, called `app`.

    `threads`: handlers that are plain functions run in so many threads of each worker, for code that blocks.
    `compress`: whether text answers may be compressed for clients that take that. `csrf`: forms need a token,
    `req.csrf_token`; a route that needs none says `csrf=False`. `session`: how sessions are kept, a dict of `name`,
    `max_age`, `domain`, `same_site`, `secure`.
    """

    def __init__(
        self,
        *,
        threads: int = 0,
        compress: bool = True,
        csrf: bool = False,
        session: Optional[Mapping[str, Any]] = None,
    ) -> None:
        if not isinstance(compress, bool):
            raise TypeError(f"compress is True or False, not {compress!r}")
        self.compress = compress
        if isinstance(threads, bool) or not isinstance(threads, int) or not 0 <= threads <= 256:
            raise ValueError(f"threads is a whole number from 0 to 256, not {threads!r}")
        self.threads = threads
        self._checks_forms = csrf
        self._session = _native.SessionOptions(**(session or {}))
        self._table = _native.RouteTable()
        self._channel_table = _native.RouteTable()
        self._routes: List[Route] = []
        self._channels: List[Channel] = []
        self._before: List[Any] = []
        self._after: List[Any] = []
        self._timers: List[Tuple[float, Any]] = []
        self._start: List[Any] = []
        self._stop: List[Any] = []
        self._not_found: Any = None
        self._error: Any = None
        self._raw: Any = None

    # Routes

    def get(
        self, path: str, *, compress: Optional[bool] = None, csrf: bool = True, body: str = "whole"
    ) -> Callable[[F], F]:
        """Registers a handler for GET, which answers HEAD too."""
        return self._add(["GET"], path, _place(1), compress, csrf, body)

    def post(
        self, path: str, *, compress: Optional[bool] = None, csrf: bool = True, body: str = "whole"
    ) -> Callable[[F], F]:
        """Registers a handler for POST."""
        return self._add(["POST"], path, _place(1), compress, csrf, body)

    def put(
        self, path: str, *, compress: Optional[bool] = None, csrf: bool = True, body: str = "whole"
    ) -> Callable[[F], F]:
        """Registers a handler for PUT."""
        return self._add(["PUT"], path, _place(1), compress, csrf, body)

    def patch(
        self, path: str, *, compress: Optional[bool] = None, csrf: bool = True, body: str = "whole"
    ) -> Callable[[F], F]:
        """Registers a handler for PATCH."""
        return self._add(["PATCH"], path, _place(1), compress, csrf, body)

    def delete(
        self, path: str, *, compress: Optional[bool] = None, csrf: bool = True, body: str = "whole"
    ) -> Callable[[F], F]:
        """Registers a handler for DELETE."""
        return self._add(["DELETE"], path, _place(1), compress, csrf, body)

    def options(
        self, path: str, *, compress: Optional[bool] = None, csrf: bool = True, body: str = "whole"
    ) -> Callable[[F], F]:
        """Registers a handler for OPTIONS, which Kennel otherwise answers itself."""
        return self._add(["OPTIONS"], path, _place(1), compress, csrf, body)

    def route(
        self,
        methods: Union[str, List[str]],
        path: str,
        *,
        compress: Optional[bool] = None,
        csrf: bool = True,
        body: str = "whole",
    ) -> Callable[[F], F]:
        """Registers a handler for a method or several.

        `compress`: whether text answers may be compressed, as the app says unless told. `csrf`: whether forms need a
        token where the app checks them. `body`: "stream" starts the handler as soon as the head of a request is there;
        it reads the body as it arrives, by `await req.receive(n)`, or in threads by `req.read(n)`.
        """
        listed = [methods] if isinstance(methods, str) else methods
        if not isinstance(listed, (list, tuple)) or not listed:
            raise TypeError("app.route takes a method or a list of methods first")
        for method in listed:
            if not isinstance(method, str) or not re.fullmatch("[A-Za-z0-9]+", method):
                raise ValueError(f"`{method}` is no HTTP method")
        return self._add([method.upper() for method in listed], path, _place(1), compress, csrf, body)

    def _add(
        self, methods: List[str], path: str, place: str, compress: Optional[bool], csrf: bool, body: str
    ) -> Callable[[F], F]:
        if compress is not None and not isinstance(compress, bool):
            raise TypeError(f"compress is True or False, not {compress!r}")
        if not isinstance(path, str):
            raise TypeError(f"a route's path is text, not {type(path).__name__}")
        if body not in ("whole", "stream"):
            raise ValueError(f'`body` of route `{path}` is "whole" or "stream", not {body!r}')
        names = self._table.add(methods, path, len(self._routes), place)

        def register(function: F) -> F:
            if not callable(function):
                raise TypeError(f"route `{path}` takes a function, not {type(function).__name__}")
            _check_parameters(function, path, names)
            route = Route(methods, path, function, place, names, csrf)
            route.compress = compress
            route.streams = body == "stream"
            self._routes.append(route)
            return function

        return register

    def channel(self, path: str, **options: Any) -> Callable[[Any], Any]:
        """Registers a channel: a class with the callbacks `open(conn)`, `message(conn, msg)` and
        `close(conn, code, reason)`, or an `async def` that takes the connection.

        Options: `origins`, `protocols`, `max_message`, `ping`, `deflate`, `slow`, `buffer`.
        """
        channel = declare(self._channel_table, self._channels, path, options, _place(1))

        def register(handlers: Any) -> Any:
            set_handlers(channel, handlers)
            self._channels.append(channel)
            return handlers

        return register

    # Hooks

    def before(self, function: F) -> F:
        """Calls `function(req)` before each handler; what it returns, if anything, is the answer."""
        self._before.append(_checked(function, "before"))
        return function

    def after(self, function: F) -> F:
        """Calls `function(req, res)` with each response, which it may change, or return another."""
        self._after.append(_checked(function, "after"))
        return function

    def not_found(self, function: F) -> F:
        """Replaces the page for paths without a route."""
        self._not_found = _checked(function, "not_found")
        return function

    def error(self, function: F) -> F:
        """Replaces the page for handlers that fail: `function(req, exception)`."""
        self._error = _checked(function, "error")
        return function

    def raw(self, function: F) -> F:
        """Takes every message that no route takes, as Mongrel2 sent it."""
        self._raw = _checked(function, "raw")
        return function

    # Tasks

    def start(self, function: F) -> F:
        """Calls `function()` in each worker before its first request."""
        self._start.append(_checked(function, "start"))
        return function

    def stop(self, function: F) -> F:
        """Calls `function()` in each worker after its last request."""
        self._stop.append(_checked(function, "stop"))
        return function

    def every(self, seconds: float) -> Callable[[F], F]:
        """Calls the function every so many seconds, in one worker of the app."""
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
            raise ValueError(f"app.every takes a number of seconds above 0, not {seconds!r}")

        def register(function: F) -> F:
            self._timers.append((seconds, _checked(function, "every")))
            return function

        return register

    # For Kennel's own code

    def _number(self) -> None:
        """Numbers routes and channels by what they are, not by when they came: a script may register them in an order
        that is another one in each worker, and a number must mean the same in all of them."""
        self._routes.sort(key=lambda route: (route.path, route.methods))
        for number, route in enumerate(self._routes):
            route.handler = number
        self._channels.sort(key=lambda channel: channel.path)
        for number, channel in enumerate(self._channels):
            channel.handler = number

    def _registration(self) -> str:
        return json.encode(
            {
                "routes": [
                    {
                        "methods": route.methods,
                        "path": route.path,
                        "handler": route.handler,
                        "place": route.place,
                        "streams": route.streams,
                    }
                    for route in self._routes
                ],
                "channels": [channel.spec() for channel in self._channels],
                "hooks": bool(self._before or self._after),
                "not_found": self._not_found is not None,
                "raw": self._raw is not None,
            }
        )

    def _needs_loop(self) -> bool:
        """Whether anything in it is asynchronous or needs a clock."""
        functions = [route.function for route in self._routes]
        functions += [*self._before, *self._after, *self._start, *self._stop]
        functions += [self._not_found, self._error, self._raw]
        return bool(self._timers) or any(map(is_async, functions)) or any(one.is_async() for one in self._channels)

    def _title(self, number: int) -> str:
        if 0 <= number < len(self._routes):
            return f"the handler of {self._routes[number].title}"
        return "the function given to app.not_found"

    def _entries(self, threads: int) -> List[Tuple[Any, List[str], str]]:
        """What the worker calls for each route."""
        entries = []
        for route in self._routes:
            called = route.function if route.compress is None else _marked(route.function, route.compress)
            function, kind = self._entry(called, threads)
            if self._checks_forms and route.checks_forms:
                function = checked(function, kind)
            entries.append((function, route.names, kind))
        return entries

    def _entry(self, function: Any, threads: int) -> Tuple[Any, str]:
        """A function and how it is called; with hooks, a function around it that calls them too."""
        if not (self._before or self._after):
            if is_async(function):
                return function, "coroutine"
            return function, "threaded" if threads else "plain"
        if threads and not is_async(function):
            return _finished(self._with_hooks(function)), "threaded"
        return self._with_hooks(function), "coroutine"

    def _pages(self, threads: int) -> List[Optional[Tuple[Any, str]]]:
        """What the worker calls for paths without a route, for other methods, and for OPTIONS."""
        not_found = self._page("not found") if self._not_found is None else self._custom_not_found
        if not (self._before or self._after or self._not_found):
            return [None, None, None]
        pages = (not_found, self._page("not allowed"), self._page("options"))
        return [self._entry(page, threads) for page in pages]

    def _page(self, name: str) -> Callable[..., Response]:
        status, text = _PAGES[name]

        def page(req: Any, allow: Optional[str] = None) -> Response:
            made = Response(text, status, TEXT if text else None, ResponseHeaders())
            if allow is not None:
                made.headers["allow"] = allow
            return made

        return page

    async def _custom_not_found(self, req: Any, allow: Optional[str] = None) -> Any:
        value = await _settled(self._not_found(req))
        if value is None:
            raise TypeError("the function given to app.not_found returned nothing")
        return Response(value, 404, TEXT, ResponseHeaders()) if isinstance(value, str) else value

    def _with_hooks(self, function: Any) -> Any:
        async def answer(req: Any, *arguments: Any, **values: Any) -> Any:
            value = None
            for hook in self._before:
                value = await _settled(hook(req))
                if value is not None:
                    break
            if value is None:
                value = await _settled(function(req, *arguments, **values))
            return value if value is None else await self._run_after(req, value)

        return answer

    async def _run_after(self, req: Any, value: Any) -> Any:
        if not self._after:
            return value
        made = to_response(value)
        # A file is opened before anybody sees the answer.
        if files.is_file(made):
            files.settle(req, made)
        for hook in self._after:
            changed = await _settled(hook(req, made))
            if changed is not None:
                made = to_response(changed)
        return made

    async def _error_page(self, req: Any, problem: BaseException, html: Optional[str]) -> Any:
        """The answer for a handler that failed."""
        value: Any
        if isinstance(problem, files.NotThere) and self._not_found is not None:
            value = await self._custom_not_found(req)
        elif isinstance(problem, _native.Refused):
            status, text = problem.args
            value = Response(f"{status} {text}\n", status, TEXT, ResponseHeaders())
        elif self._error is not None:
            value = await _settled(self._error(req, problem))
            if value is None:
                raise TypeError("the function given to app.error returned nothing")
            if isinstance(value, str):
                value = Response(value, 500, TEXT, ResponseHeaders())
        elif html is not None:
            value = Response(html, 500, "text/html; charset=utf-8", ResponseHeaders())
        else:
            value = Response("500 Internal Server Error\n", 500, TEXT, ResponseHeaders())
        return await self._run_after(req, value)


def _marked(function: Any, compress: bool) -> Any:
    """A handler whose answers may be compressed, or not, unless they say so themselves."""

    def mark(value: Any) -> Any:
        if value is None or hasattr(value, "__await__"):
            return value
        made = to_response(value)
        if made.compress is None:
            made.compress = compress
        return made

    if is_async(function):

        async def marked(req: Any, **values: Any) -> Any:
            return mark(await function(req, **values))

        return marked
    return lambda req, **values: mark(function(req, **values))


def _check_parameters(function: Any, path: str, names: List[str]) -> None:
    """A handler is called with the request and the values of its path by their names: it has to take them."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # A callable of C code says nothing about itself.
    try:
        signature.bind(None, **dict.fromkeys(names))
    except TypeError as problem:
        wanted = ", ".join(["req", *names])
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(f"the handler of `{path}` must take ({wanted}), but {name}{signature}: {problem}") from None


def _checked(function: Any, name: str) -> Any:
    if not callable(function):
        raise TypeError(f"app.{name} takes a function, not {type(function).__name__}")
    return function


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _finished(coroutine_function: Any) -> Any:
    """A coroutine function as a plain one, for threads, where nothing can be waited for."""

    def call(*arguments: Any, **values: Any) -> Any:
        coroutine = coroutine_function(*arguments, **values)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        coroutine.close()
        raise RuntimeError("hooks that are `async def` do not go with handlers in threads")

    return call
