"""kennel.render: a page from a template beside the app."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from .. import _native
from .._runtime import state
from .._runtime.traceback import TemplateError
from .response import Response, response


def render(
    template: str, values: Optional[Mapping[str, Any]] = None, *, request: Any = None, **options: Any
) -> Response:
    """A page from a template in `templates/` beside the app, with these values. `request` gives the template
    `request`, `session`, `csrf_token()` and `csrf_field()`. Options as those of `response`."""
    if not isinstance(template, str):
        raise TypeError(f"kennel.render takes the name of a template, not {type(template).__name__}")
    if values is not None and not hasattr(values, "keys"):
        raise TypeError(f"kennel.render takes a dict of values, not {type(values).__name__}")
    # Without a body it has no content type but one that the script gives.
    made = response(None, **options)
    body, kind, place = _native.render(state.worker(), template, dict(values or {}), request)
    if body is None:
        raise TemplateError(kind, *(place or ()))
    made.body = body
    if "content-type" not in made.headers:
        made.headers["content-type"] = kind
    return made
