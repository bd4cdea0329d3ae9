"""Answers that are more than a value: status, headers, cookies."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, MutableMapping, Optional, Tuple, Union

from .. import _native
from .._runtime.json import encode

HeaderValue = Union[str, int, float, bytes, List[Any], Tuple[Any, ...]]

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
#: Statuses whose responses have no body, whatever is given.
BODILESS = (204, 304)
JSON = "application/json"
BINARY = "application/octet-stream"


def _values(value: Any) -> list[Any]:
    values = value if isinstance(value, (list, tuple)) else [value]
    for one in values:
        if isinstance(one, bool) or not isinstance(one, (str, bytes, int, float)):
            raise TypeError(f"a header's value is text, a number or a list of them, not {type(one).__name__}")
    return [one if isinstance(one, (str, bytes)) else str(one) for one in values]


class ResponseHeaders(MutableMapping[str, Any]):
    """A response's headers: names in any case, a value may be a list."""

    __slots__ = ("_found",)

    def __init__(self, given: Optional[Mapping[str, HeaderValue]] = None) -> None:
        self._found: Dict[str, Any] = {}
        if given is not None:
            if not hasattr(given, "items"):
                raise TypeError(f"headers are a dict of names and values, not {type(given).__name__}")
            for name, value in given.items():
                self[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._found[name.lower()]

    def __setitem__(self, name: str, value: HeaderValue) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a header's name is text, not {type(name).__name__}")
        for one in _values(value):
            _native.check_header(name, one)
        self._found[name.lower()] = value

    def __delitem__(self, name: str) -> None:
        del self._found[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return repr(self._found)

    def lines(self) -> list[tuple[str, Any]]:
        """Pairs of name and value, a list's one by one."""
        return [(name, one) for name, value in self._found.items() for one in _values(value)]


class Response:
    """An answer whole: `status`, `headers`, `body`. Hooks may change it."""

    __slots__ = ("body", "compress", "headers", "status")

    def __init__(self, body: Any, status: int, content_type: Optional[str], headers: ResponseHeaders) -> None:
        self.body = body
        #: Whether it may be compressed; `None`: as the route and the app say.
        self.compress: Optional[bool] = None
        self.status = status
        self.headers = headers
        if content_type is not None and "content-type" not in headers:
            headers["content-type"] = content_type

    def __repr__(self) -> str:
        return f"<response {self.status}>"

    def set_cookie(self, name: str, value: Any, **options: Any) -> None:
        """Sets a cookie. Options: `max_age`, `path`, `domain`, `secure`, `http_only`, `same_site`."""
        for line in _cookie_lines({name: {**options, "value": value}}):
            add_cookie_line(self.headers, line)

    def delete_cookie(self, name: str, **options: Any) -> None:
        """Makes browsers forget a cookie, which was set with the same `path` and `domain`."""
        self.set_cookie(name, "", **{**options, "max_age": 0})


def add_cookie_line(headers: ResponseHeaders, line: bytes) -> None:
    before = headers.get("set-cookie", [])
    headers["set-cookie"] = [*_values(before), line]


def check_status(status: Any) -> int:
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 999:
        raise ValueError(f"a status is a whole number from 200 to 999, not {status!r}")
    return status


def _build(
    body: Any,
    content_type: Optional[str],
    status: int,
    headers: Optional[Mapping[str, HeaderValue]],
    cookies: Optional[Mapping[str, Any]],
    compress: Optional[bool],
) -> Response:
    lines = ResponseHeaders(headers)
    if cookies is not None:
        for line in _cookie_lines(cookies):
            add_cookie_line(lines, line)
    made = Response(body, check_status(status), content_type, lines)
    if compress is not None and not isinstance(compress, bool):
        raise TypeError(f"compress is True or False, not {type(compress).__name__}")
    made.compress = compress
    return made


def _cookie_lines(cookies: Mapping[str, Any]) -> list[bytes]:
    if not hasattr(cookies, "items"):
        raise TypeError(f"cookies are a dict of names and values, not {type(cookies).__name__}")
    lines = []
    for name, value in sorted(cookies.items()):
        options: Dict[str, Any] = {}
        if isinstance(value, dict):
            options = dict(value)
            value = options.pop("value", None)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise TypeError(f"the value of cookie `{name}` must be text, not {type(value).__name__}")
        try:
            lines.append(_native.cookie(name, value, **options))
        except TypeError as problem:
            raise TypeError(f"cookie `{name}`: {problem}") from None
    return lines


def response(
    body: Any = None,
    *,
    status: int = 200,
    headers: Optional[Mapping[str, HeaderValue]] = None,
    cookies: Optional[Mapping[str, Any]] = None,
    compress: Optional[bool] = None,
) -> Response:
    """An answer with status, headers and cookies.

    `body` is text, bytes, a dict or list for JSON, or `None`. A header's value may be a list. A cookie is a text, or a
    dict of `value`, `max_age`, `path`, `domain`, `secure`, `http_only`, `same_site`. `compress=False`: it is never
    compressed.
    """
    if isinstance(body, str):
        content_type: Optional[str] = TEXT
    elif isinstance(body, (bytes, bytearray, memoryview)):
        content_type = BINARY
    elif body is None:
        body, content_type = b"", None
    elif is_stream(body):
        content_type = None
    elif isinstance(body, (dict, list, tuple)):
        body, content_type = encode(body), JSON
    else:
        raise TypeError(f"a body is text, bytes, a dict or a list, not {type(body).__name__}")
    return _build(body, content_type, status, headers, cookies, compress)


def _text(kind: str, content_type: str, body: Any, options: Dict[str, Any]) -> Response:
    if not isinstance(body, str):
        raise TypeError(f"kennel.{kind} takes text, not {type(body).__name__}")
    made = response(body, **options)
    made.headers["content-type"] = content_type
    return made


def html(body: str, **options: Any) -> Response:
    """A page. Options as those of `response`."""
    return _text("html", HTML, body, options)


def text(body: str, **options: Any) -> Response:
    """Plain text. Options as those of `response`."""
    return _text("text", TEXT, body, options)


def json(value: Any, **options: Any) -> Response:
    """Any value as JSON. Options as those of `response`."""
    made = response(encode(value), **options)
    made.headers["content-type"] = JSON
    return made


def redirect(url: str, status: int = 303) -> Response:
    """Sends the client elsewhere: 303 unless told otherwise, or 301, 302, 307, 308."""
    if not isinstance(url, str):
        raise TypeError(f"kennel.redirect takes an address, not {type(url).__name__}")
    if status not in (301, 302, 303, 307, 308):
        raise ValueError(f"kennel.redirect takes status 301, 302, 303, 307 or 308, not {status!r}")
    return Response(b"", status, None, ResponseHeaders({"location": url}))


def no_content() -> Response:
    """204, without a body."""
    return Response(b"", 204, None, ResponseHeaders())


def to_response(value: Any) -> Response:
    """What a handler returned, as a response."""
    if isinstance(value, Response):
        return value
    if isinstance(value, str):
        return Response(value, 200, TEXT, ResponseHeaders())
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Response(value, 200, BINARY, ResponseHeaders())
    if isinstance(value, tuple):
        with_status = _with_status(value)
        if with_status is not None:
            return with_status
    if isinstance(value, (dict, list, tuple)):
        return Response(encode(value), 200, JSON, ResponseHeaders())
    if is_stream(value):
        return Response(value, 200, None, ResponseHeaders())
    raise TypeError(f"a handler returns text, bytes, a dict, a list or a response, not {type(value).__name__}")


def _with_status(value: Tuple[Any, ...]) -> Optional[Response]:
    """`return body, 404` and `return body, 404, {"x-name": "value"}`; other tuples are JSON."""
    if len(value) not in (2, 3) or isinstance(value[1], bool) or not isinstance(value[1], int):
        return None
    if not 200 <= value[1] <= 599 or (len(value) == 3 and not hasattr(value[2], "items")):
        return None
    made = to_response(value[0])
    # The body may be a response that the app keeps, so it gets a new one.
    headers = ResponseHeaders(made.headers)
    if len(value) == 3:
        headers.update(ResponseHeaders(value[2]))
    changed = Response(made.body, value[1], None, headers)
    changed.compress = made.compress
    return changed


class Pieces:
    """A body in pieces that need `encode(piece)` to become bytes; its answer begins before the first of them."""

    __slots__ = ("encode", "pieces", "silence")

    def __init__(self, pieces: Any, encode: Callable[[Any], bytes], silence: bytes) -> None:
        self.pieces = pieces
        self.encode = encode
        #: What is sent when nothing else was for a while.
        self.silence = silence


def is_stream(value: Any) -> bool:
    """Whether a body comes in pieces: a generator, an async generator, any iterator."""
    return hasattr(value, "__next__") or hasattr(value, "__aiter__") or isinstance(value, Pieces)


def stream(pieces: Any, **options: Any) -> Response:
    """A body in pieces, text or bytes, sent as they come and not faster than the client reads: an iterator, an async
    one, or a function that gives one. Options as those of `response`."""
    made = response(pieces() if callable(pieces) else pieces, **options)
    if not is_stream(made.body):
        raise TypeError(f"kennel.stream takes an iterator or a function that gives one, not {type(pieces).__name__}")
    return made


def body_bytes(body: Any) -> bytes:
    """A response's body as bytes."""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"the body of a response is text or bytes, not {type(body).__name__}")
