"""Files as answers. They are opened when the handler has returned, so that the request's conditions are at hand."""

from __future__ import annotations

import os
from typing import Any, Optional, Union

from .. import _native
from .response import Response, response

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class NotThere(_native.Refused):
    """There is no such file: the answer is the app's own page for that."""

    def __init__(self) -> None:
        super().__init__(404, "Not Found: there is nothing at this address.")


class File:
    """The body of a response that is a file."""

    __slots__ = ("conditional", "found", "path", "root")

    def __init__(self, path: bytes, root: Optional[bytes], conditional: bool) -> None:
        self.path = path
        self.root = root
        self.conditional = conditional
        self.found: Optional[_native.FoundFile] = None


def file(
    path: Path,
    *,
    root: Optional[Path] = None,
    type: Optional[str] = None,
    filename: Optional[str] = None,
    max_age: Optional[int] = None,
    **options: Any,
) -> Response:
    """A file as the answer, with everything that clients and caches ask about one: types, dates, tags, ranges.

    `root`: the folder that `path` is below, and does not leave. `type`: its Content-Type. `filename`: the client
    stores it under that name. `max_age`: so many seconds a cache may keep it. Options as those of `response`.
    """
    for name, value in (("type", type), ("filename", filename)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"kennel.file: {name} is text, not {value.__class__.__name__}")
    if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int) or not 0 <= max_age <= 2**31):
        raise ValueError(f"kennel.file: max_age is a whole number of seconds, not {max_age!r}")
    made = response(None, **options)
    if type is not None:
        made.headers["content-type"] = type
    if filename is not None:
        made.headers["content-disposition"] = _native.attachment(filename)
    if max_age is not None:
        made.headers["cache-control"] = f"max-age={max_age}"
    made.body = File(os.fsencode(path), None if root is None else os.fsencode(root), made.status == 200)
    return made


def is_file(value: Any) -> bool:
    """Whether a handler returned a file."""
    return isinstance(value, Response) and isinstance(value.body, File)


def settle(req: Any, made: Response) -> None:
    """Opens the file of a response, and makes of it what the request is to get."""
    body, headers = made.body, made.headers
    if body.found is not None:
        return
    own_type = headers.pop("content-type", None)
    content_type = own_type.encode() if isinstance(own_type, str) else own_type
    found = req._job.find_file(body.path, body.root, content_type, body.conditional)
    if found is None:
        raise NotThere
    body.found = found
    if found.status not in (200, 206):
        headers.pop("content-disposition", None)
    if found.status >= 400:
        # How long the file stays fresh is not how long its absence does.
        headers.pop("cache-control", None)
        headers.pop("expires", None)
    if body.conditional:
        made.status = found.status
    for name, value in found.head:
        # What the file cannot say of itself the script may.
        if name == "Vary" and "vary" in headers:
            own = headers["vary"]
            headers["vary"] = [value, *own] if isinstance(own, (list, tuple)) else [value, own]
        elif name not in headers:
            headers[name] = value.decode("latin-1")
    if "content-type" in headers:
        headers.setdefault("x-content-type-options", "nosniff")
