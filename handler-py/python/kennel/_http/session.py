"""Sessions on their way into answers, the check of forms, and `kennel.sign`.

A request that nobody asks for its session has none: no cookie was looked at, and nothing here runs.
"""

from __future__ import annotations

import copy
from functools import wraps
from typing import Any, Callable, Optional

from .. import _native
from .._runtime import log, state
from .._runtime.json import decode, encode
from .response import Response, add_cookie_line, to_response


def _written(req: Any) -> tuple[str, bool]:
    """The values as JSON, and whether they are those that came."""
    values, came = req.session, req._session_came
    try:
        json = encode(values)
    except (TypeError, ValueError, RecursionError) as problem:
        raise type(problem)(f"the session cannot be kept: {problem}") from None
    # Another language may have written the same in other letters.
    return json, json == came or (len(json) > 2 and json == encode(decode(came)))


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else value


def seal(req: Any, value: Any) -> Response:
    """What a handler returned, as a response that has the session's cookie if there has to be one. It is a copy: a
    script may return one response to many."""
    json, same = _written(req)
    line = req._close_session(json, same)
    req._session_kept = json
    given = to_response(value)
    made = copy.copy(given)
    made.headers = headers = copy.copy(given.headers)
    headers._found = dict(given.headers._found)
    control, vary = _native.privacy(_one(headers.get("cache-control")), _one(headers.get("vary")), line is not None)
    if control is not None:
        headers["cache-control"] = control
    if vary is not None:
        headers["vary"] = vary
    if line is not None:
        add_cookie_line(headers, line)
    return made


def look_back(req: Any) -> None:
    """Behind an answer that took its time: what was changed meanwhile is lost, and the log says so."""
    try:
        same = encode(req.session) == req._session_kept
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        log.write("warn", "the session was changed after the answer had begun, and that is lost")


def check_form(req: Any) -> None:
    """Refuses what may come from a form of another site."""
    if not req._needs_token():
        return
    token = req.headers.get(_native.CSRF_HEADER) or req.form.get(_native.CSRF_FIELD)
    if not isinstance(token, str) or not req._allows(token):
        raise _native.Refused(403, _native.CSRF_REFUSAL)


def checked(function: Any, kind: str) -> Callable[..., Any]:
    """A handler that is called only when the form was made here."""
    if kind == "coroutine":

        @wraps(function)
        async def call_later(req: Any, *arguments: Any, **values: Any) -> Any:
            check_form(req)
            return await function(req, *arguments, **values)

        return call_later

    @wraps(function)
    def call(req: Any, *arguments: Any, **values: Any) -> Any:
        check_form(req)
        return function(req, *arguments, **values)

    return call


def sign(value: Any) -> str:
    """A value that has a JSON form as a text for links and fields, which `unsign` knows again. It is signed, not
    hidden: who has it can read it, and cannot change it."""
    return state.worker().sign(encode(value))


def unsign(text: Any, max_age: Optional[float] = None) -> Any:
    """The value that `sign` was given, or None: the text was made or changed elsewhere, or more than `max_age` seconds
    ago."""
    if max_age is not None and not max_age >= 0:
        raise ValueError(f"max_age is a number of seconds, 0 or more, not {max_age!r}")
    if not isinstance(text, str):
        return None
    json = state.worker().unsign(text, None if max_age is None else int(max_age))
    return None if json is None else decode(json)
