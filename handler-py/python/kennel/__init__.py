"""Handlers for Mongrel2 that no client notices crashing.

An app registers handlers, and Kennel calls them::

    import kennel

    app = kennel.App()

    @app.get("/users/{id}")
    def user(req, id):
        return {"id": id, "agent": req.headers.get("user-agent")}

``kennel run app.py`` serves it. ``docs/python-api.md`` has everything.
"""

from __future__ import annotations

from typing import Any

from ._app.app import App
from ._http.events import events
from ._http.files import file
from ._http.raw import Message, deliver, disconnect
from ._http.render import render
from ._http.response import Response, html, json, no_content, redirect, response, stream, text
from ._http.session import sign, unsign
from ._live.conn import Connection
from ._live.room import Room, connection, room
from ._native import VERSION as __version__
from ._native import Aborted, Args, File, Files, Form, Headers, Refused, Request
from ._runtime import state as _state
from ._runtime.log import log
from ._runtime.tasks import spawn
from ._runtime.traceback import TemplateError

__all__ = [
    "Aborted",
    "App",
    "Args",
    "Connection",
    "File",
    "Files",
    "Form",
    "Headers",
    "Message",
    "Refused",
    "Request",
    "Response",
    "Room",
    "TemplateError",
    "__version__",
    "connection",
    "deliver",
    "disconnect",
    "events",
    "file",
    "html",
    "json",
    "log",
    "no_content",
    "redirect",
    "render",
    "response",
    "room",
    "sign",
    "spawn",
    "stream",
    "text",
    "unsign",
]


def __getattr__(name: str) -> Any:
    # Known once a worker has started, and not before.
    if name == "config":
        return _state.config
    if name == "worker":
        return _state.number
    raise AttributeError(f"module 'kennel' has no attribute {name!r}")
