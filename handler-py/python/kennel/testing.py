"""Drives an app without any server: no Mongrel2, no socket, no waiting::

    from kennel import testing

    def test_a_visitor_is_greeted():
        site = testing.site("app.py")
        res = site.get("/hello/ann")
        assert res.status == 200
        assert res.json() == {"hello": "ann"}

The hub is the real one, and so is the worker; the clients, the server and the time are made up.
``docs/testing.md`` has everything.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from . import _native
from ._app.app import App
from ._runtime.json import decode as _decode
from ._runtime.json import encode as _encode
from ._serve.load import OTHER_TESTS
from ._testing import outcome as _outcome
from ._testing import settings as _settings
from ._testing.outcome import Skipped
from ._testing.workers import Crew

__all__ = [
    "Closed",
    "Connection",
    "LogLine",
    "Refused",
    "Response",
    "ResponseHeaders",
    "Room",
    "Site",
    "Skipped",
    "site",
    "skip",
]

Pairs = List[Tuple[bytes, bytes]]


class ResponseHeaders(Mapping[str, str]):
    """Headers by name in any case: the first value, or all of them by `getall`."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in pairs]

    def __getitem__(self, name: str) -> str:
        for known, value in self._pairs:
            if known.lower() == name.lower():
                return value
        raise KeyError(name)

    def getall(self, name: str) -> List[str]:
        """All values of a header, in order."""
        return [value for known, value in self._pairs if known.lower() == name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._pairs))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._pairs})

    def __repr__(self) -> str:
        return repr(self._pairs)


class Response:
    """What came of a request."""

    def __init__(self, answered: Tuple[int, Pairs, bytes, bool], error: Optional[str]) -> None:
        self.status, pairs, self.body, self.complete = answered
        self.headers = ResponseHeaders(pairs)
        #: What the app logged as errors meanwhile, with the traceback of a handler that failed.
        self.error = error

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body, read as JSON."""
        try:
            return _decode(self.body)
        except ValueError as problem:
            raise ValueError(f"the response's body is no JSON ({problem}): {self.text[:200]}") from None

    def __repr__(self) -> str:
        return f"<response {self.status}: {self.text[:200]!r}>"


class Refused(Exception):
    """A handshake was refused; `response` is the answer to it."""

    def __init__(self, path: str, response: Response) -> None:
        super().__init__(f"connecting to {path} was refused: {response.status} {response.text[:200]}")
        self.response = response


def skip(reason: str = "") -> None:
    """Ends the running test as one that cannot be run here."""
    pytest = sys.modules.get("pytest")
    if pytest is not None:
        pytest.skip(reason)
    raise Skipped(reason)


class Closed(NamedTuple):
    """How a connection ended."""

    code: int
    reason: str


class LogLine(NamedTuple):
    """A line that the app logged."""

    level: str
    text: str
    fields: Dict[str, Any]
    #: Seconds since the site began.
    at: float


def _bytes(value: Any, what: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, (str, int, float)):
        return str(value).encode("utf-8", "surrogateescape")
    raise TypeError(f"{what} is text, bytes or a number, not {type(value).__name__}")


def _pairs(values: Any, what: str) -> Optional[Pairs]:
    if values is None:
        return None
    items = values.items() if isinstance(values, Mapping) else values
    pairs = []
    for name, value in items:
        for one in value if isinstance(value, (list, tuple)) else [value]:
            pairs.append((_bytes(name, f"a name in {what}"), _bytes(one, f"{what}[{name!r}]")))
    return pairs


def _files(files: Any) -> Any:
    if files is None:
        return None
    listed = []
    for name, value in files.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                unknown = set(one) - {"filename", "content", "content_type"}
                if unknown:
                    raise TypeError(f"a file has filename, content and content_type, not {sorted(unknown)[0]}")
                parts = (one.get("filename", name), one.get("content", b""), one.get("content_type", ""))
            elif isinstance(one, tuple):
                parts = (*one, "")[:3]
            else:
                parts = (name, one, "")
            filename, content, content_type = (_bytes(part, f"a part of files[{name!r}]") for part in parts)
            listed.append((_bytes(name, "a name in files"), filename, content_type, content))
    return listed


class Site:
    """An app, freshly loaded, with its clients; a time of its own stands still until somebody lets it pass."""

    def __init__(self, crew: Crew, start: Dict[str, Any], limits: Dict[str, Any]) -> None:
        self._crew = crew
        self._native = _native.Rehearsal.open(crew, _encode(start), _encode(limits))
        self._heard = 0
        self._hear()

    # Requests

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Any = None,
        query: Any = None,
        cookies: Any = None,
        form: Any = None,
        files: Any = None,
        json: Any = ...,
        body: Union[str, bytes, None] = None,
        follow: bool = False,
        cookie_jar: bool = True,
        patience: float = 60.0,
    ) -> Response:
        """Makes a request and waits for its answer, by which the site's time may pass."""
        if (json is not ...) + (body is not None) + (form is not None or files is not None) > 1:
            raise TypeError("a request has one body: json, body, or form and files")
        options = {
            "headers": _pairs(headers, "headers"),
            "query": _pairs(query, "query"),
            "cookies": _pairs(cookies, "cookies"),
            "form": _pairs(form, "form"),
            "files": _files(files),
            "json": None if json is ... else _encode(json).encode(),
            "body": None if body is None else _bytes(body, "body"),
            "follow": follow,
            "jar": cookie_jar,
            "patience": float(patience),
        }
        answered = self._native.request(method.upper(), path, options)
        return Response(answered, self._hear())

    def get(self, path: str, **options: Any) -> Response:
        """A GET request, as `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Response:
        """A POST request, as `request`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Response:
        """A PUT request, as `request`."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Response:
        """A PATCH request, as `request`."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Response:
        """A DELETE request, as `request`."""
        return self.request("DELETE", path, **options)

    def options(self, path: str, **options: Any) -> Response:
        """An OPTIONS request, as `request`."""
        return self.request("OPTIONS", path, **options)

    def head(self, path: str, **options: Any) -> Response:
        """A HEAD request, as `request`."""
        return self.request("HEAD", path, **options)

    # Connections

    def connect(
        self,
        path: str,
        *,
        headers: Any = None,
        query: Any = None,
        cookies: Any = None,
        protocols: Optional[List[str]] = None,
        origin: Optional[str] = None,
    ) -> Connection:
        """Connects a WebSocket, or a socket by `@name` or `<tag`. Raises `Refused` when the handshake is."""
        lines = _pairs(headers, "headers") or []
        if origin is not None:
            lines.append((b"origin", origin.encode()))
        if protocols:
            lines.append((b"sec-websocket-protocol", ", ".join(protocols).encode()))
        options = {"headers": lines, "query": _pairs(query, "query"), "cookies": _pairs(cookies, "cookies")}
        client, connected, answered = self._native.connect(path, options)
        error = self._hear()
        response = None if answered is None else Response(answered, error)
        if response is not None and not connected:
            raise Refused(path, response)
        return Connection(self, client, response)

    def room(self, name: str) -> Room:
        """What the hub knows of a room."""
        return Room(self._native, name)

    def count(self) -> int:
        """How many connections there are."""
        return len(self._native.connections())

    def answer_pings(self, yes: bool) -> None:
        """Whether clients answer pings, as at first they do."""
        self._native.set_silent(not yes)

    # Time and code

    def advance(self, seconds: float) -> None:
        """Lets so much time pass, with all that is due in it."""
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ValueError(f"advance takes a number of seconds, 0 or more, not {seconds!r}")
        self._native.advance(float(seconds))
        self._hear()

    @property
    def time(self) -> float:
        """Seconds since the site began."""
        return float(self._native.time())

    def reload(self) -> None:
        """Loads the app anew; connections go over to it, with `conn.resumed`."""
        self._native.reload()
        self._hear()

    def evaluate(self, code: str) -> str:
        """Runs code inside the app, as the console's `eval` does, and gives its value as text."""
        return str(self._native.evaluate(code))

    # What is left behind

    @property
    def cookies(self) -> Dict[str, str]:
        """What the client has kept, by name."""
        pairs = self._native.cookies()
        return {name.decode("latin-1"): value.decode("utf-8", "surrogateescape") for name, value in pairs}

    def forget_cookies(self) -> None:
        """The client forgets them."""
        self._native.forget_cookies()

    @property
    def log(self) -> List[LogLine]:
        """What the app has logged."""
        lines = self._native.log(0)
        return [LogLine(level, text, _decode(fields) if fields else {}, at) for at, level, text, fields in lines]

    def _hear(self) -> Optional[str]:
        """What the app has logged as errors since this was asked before."""
        lines = self._native.log(self._heard)
        self._heard += len(lines)
        found = [text for _, level, text, _ in lines if level == "error"]
        if _outcome.errors is not None:
            _outcome.errors.extend(found)
        else:
            for text in found:
                print(text, file=sys.stderr)
        return "\n".join(found) or None

    def close(self) -> None:
        """Ends the app, and whatever it still does."""
        self._crew.end_all()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self._crew.end_all()
        except Exception:
            # The interpreter itself is about to end.
            pass


class Connection:
    """A client that is connected."""

    def __init__(self, site: Site, client: int, response: Optional[Response]) -> None:
        self._site, self._native, self._client = site, site._native, client
        #: The answer to the handshake, if there was one.
        self.response = response
        #: The subprotocol that the app chose.
        self.protocol = response.headers.get("Sec-WebSocket-Protocol") if response is not None else None

    def send(self, message: Any) -> None:
        """Says something: text as it is, bytes as a binary message, a dict or list as JSON."""
        if isinstance(message, bytes):
            self._native.send(self._client, True, message)
        else:
            text = message if isinstance(message, str) else _encode(message)
            self._native.send(self._client, False, text.encode())
        self._site._hear()

    def send_binary(self, message: bytes) -> None:
        """Says something in bytes."""
        self._native.send(self._client, True, bytes(message))
        self._site._hear()

    def receive(self) -> Union[str, bytes, None]:
        """The next message from the app; None when there is none."""
        found = self._native.receive(self._client)
        if found is None:
            return None
        binary, payload = found
        return bytes(payload) if binary else str(payload, "utf-8", "replace")

    def receive_json(self) -> Any:
        """The same, read as JSON."""
        message = self.receive()
        return None if message is None else _decode(message)

    def messages(self) -> List[Union[str, bytes]]:
        """All that have come and were not received yet."""
        return list(iter(self.receive, None))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes from the client's side."""
        self._native.close(self._client, code, reason)
        self._site._hear()

    def vanish(self) -> None:
        """Goes away without a word."""
        self._native.vanish(self._client)
        self._site._hear()

    @property
    def closed(self) -> Optional[Closed]:
        """None, or how it ended."""
        ended = self._native.ended(self._client)
        return None if ended is None else Closed(*ended)

    @property
    def data(self) -> Any:
        """Its `conn.data`."""
        text = self._native.data(self._client)
        return None if text is None else _decode(text)

    def _view(self) -> Optional[Tuple[str, int, List[str]]]:
        return next((view for view in self._native.connections() if view[1] == self._client), None)

    @property
    def id(self) -> Optional[str]:
        """Its `conn.id`."""
        view = self._view()
        return view[0] if view else None

    @property
    def rooms(self) -> List[str]:
        """The rooms that it is in."""
        view = self._view()
        return list(view[2]) if view else []


class Room:
    """What the hub knows of a room."""

    def __init__(self, native: Any, name: str) -> None:
        self._native, self.name = native, name

    def count(self) -> int:
        """How many are in it."""
        return len(self._native.connections(self.name))

    def members(self) -> List[str]:
        """The `conn.id` of each."""
        return [id for id, _, _ in self._native.connections(self.name)]


def site(
    app: Union[App, str, os.PathLike[str], None] = None,
    *,
    config: Optional[Dict[str, Any]] = None,
    request_timeout: Optional[float] = None,
    mount: Optional[str] = None,
) -> Site:
    """A site with an app: a `kennel.App`, a file, `file.py:name`, a module; or that of kennel.toml, or `app.py`."""
    if app is not None and not isinstance(app, (App, str, os.PathLike)):
        advice = OTHER_TESTS if callable(app) else ""
        raise TypeError(f"testing.site takes a kennel.App or the name of a file, not {type(app).__name__}{advice}")
    start, limits = _settings.of(None if isinstance(app, App) else app)
    if isinstance(app, App):
        start["source"] = "the app"
    start["interface"] = "kennel"
    if config is not None:
        start["config"] = config
    if mount is not None:
        start["mount"] = mount
    if request_timeout is not None:
        limits["request_timeout"] = {"secs": int(request_timeout), "nanos": int(request_timeout % 1 * 1e9)}
    return Site(Crew(app if isinstance(app, App) else None), start, limits)
