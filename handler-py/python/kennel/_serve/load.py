"""Brings in what is to be served: imports it, finds the app in it, or what makes one, and which standard that speaks.

What does not load is told in words for whoever typed its name.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .. import _native
from .._app.app import App
from .._app.channel import is_async
from .._runtime import tasks
from .._runtime.traceback import describe
from . import evaluate

#: Names that are looked for when none was given, and those of what makes an app.
_APPS = ("app", "application")
_FACTORIES = ("create_app", "make_app")

_ASGI = ["scope", "receive", "send"]


class LoadError(Exception):
    """What is to be served cannot be: in words for whoever typed its name, and perhaps the app's own."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def load(worker: _native.Worker) -> Any:
    """Imports what is to be served, and finds the app in it."""
    source, name = worker.source, worker.object
    if worker.dev:
        # Of two versions of a module that are saved within a second the first would be served, were it kept.
        sys.dont_write_bytecode = True
    if source.endswith(".py"):
        folder, file = os.path.split(os.path.abspath(source))
        sys.path.insert(0, folder)
        module_name = file[: -len(".py")]
        refuse_shadow(module_name)
        spec = importlib.util.spec_from_file_location(module_name, os.path.join(folder, file))
        if spec is None or spec.loader is None:
            raise LoadError("it cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        sys.argv = [source]
        # A script is compiled each time, as Python itself does: what lies in `__pycache__` is told from newer code
        # only by whole seconds and its size.
        with open(os.path.join(folder, file), "rb") as script:
            exec(compile(script.read(), script.name, "exec", dont_inherit=True), module.__dict__)
    else:
        sys.path.insert(0, os.getcwd())
        sys.argv = [source]
        module = importlib.import_module(source)
        tasks.set_own(sys.modules[source.partition(".")[0]])
    evaluate.remember(vars(module))
    return find_app(module, source, name)


def refuse_shadow(module_name: str) -> None:
    """A script that is called as this package is what `import kennel` would find."""
    if module_name == "kennel":
        raise LoadError("a script cannot be called `kennel.py`: its `import kennel` finds the script itself; rename it")


class _Call(NamedTuple):
    """What was typed behind a name."""

    arguments: List[Any]
    options: Dict[str, Any]


def find_app(module: Any, source: str, typed: str) -> Any:
    """What a module has to be served: of this name, or of a usual one; called, if a call was typed."""
    name, call = _take_apart(typed)
    usual = _APPS if call is None else _FACTORIES
    for candidate in [name] if name else usual:
        found: Any = module
        for part in candidate.split("."):
            found = getattr(found, part, None)
        if found is not None:
            return found if call is None else _make(found, source, candidate, call)
    if name:
        known = [word for word in vars(module) if not word.startswith("_")]
        near = _native.nearest(name, known)
        raise LoadError(f"it has no `{name}`" + (f"; did you mean `{near}`?" if near else ""))
    if call is not None:
        raise LoadError(f"it has no `create_app`; name what makes the app: `{source}:NAME()`")
    maker = next((word for word in _FACTORIES if callable(getattr(module, word, None))), None)
    if maker is not None:
        raise LoadError(f"it has no `app`, but a `{maker}`; if that makes the app, write `{source}:{maker}()`")
    raise LoadError(
        f"it has no `app`; it begins with `app = kennel.App()`, or name what is to be served: `{source}:name`"
    )


def _take_apart(typed: str) -> Tuple[str, Optional[_Call]]:
    """`name` or `name(...)`. What stands in the brackets are plain values."""
    if not typed.endswith(")"):
        return typed, None
    name, bracket, rest = typed.partition("(")
    try:
        call = ast.parse("f" + bracket + rest, mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError
        arguments = [ast.literal_eval(argument) for argument in call.args]
        # `**more` has no name, and is not a value either.
        options = {str(option.arg): ast.literal_eval(option.value) for option in call.keywords if _has_name(option)}
    except (SyntaxError, ValueError):
        raise LoadError(f"`{typed}`: arguments are plain values, as in `create_app('test', debug=True)`") from None
    return name, _Call(arguments, options)


def _has_name(option: ast.keyword) -> bool:
    if option.arg is None:
        raise ValueError
    return True


def _make(maker: Any, source: str, name: str, call: _Call) -> Any:
    if not callable(maker):
        raise LoadError(f"`{name}` is a {type(maker).__name__} and cannot be called; write `{source}:{name}`")
    made = maker(*call.arguments, **call.options)
    if inspect.iscoroutine(made):
        made.close()
        raise LoadError(f"`{name}` is an `async def`; what makes an app is a plain function")
    if made is None:
        raise LoadError(f"`{name}()` returned None; what makes an app returns it")
    return made


#: How to test what `testing.site` does not take.
OTHER_TESTS = (
    "; test an ASGI or WSGI app with its framework's test client, or by real requests to `kennel run`: see \"Apps of"
    ' other frameworks" in docs/testing.md'
)


def interface_of(found: Any, typed: str, source: str, told: str) -> str:
    """`kennel`, `asgi` or `wsgi`: as told, or found out.

    What cannot be served as that is told while it is loaded, and not by each request.
    """
    if told == "kennel" or (not told and isinstance(found, App)):
        if not isinstance(found, App):
            raise LoadError(f"what it serves is not a kennel.App, but a {type(found).__name__}")
        return "kennel"
    if not callable(found):
        kind = {"asgi": "an ASGI application", "wsgi": "a WSGI application"}.get(told, "an app")
        raise LoadError(f"what it serves is not {kind}, but a {type(found).__name__}")
    interface = told or ("asgi" if _is_asgi(found) else "wsgi")
    _check(found, interface, typed or "app", source)
    return interface


def _is_asgi(found: Any) -> bool:
    if inspect.isclass(found):
        # Its instances are awaited, as with endpoints of Starlette.
        return hasattr(found, "__await__")
    return is_async(found) or _required(found) == _ASGI


def _signature(found: Any) -> Optional[inspect.Signature]:
    """How it is called; `None` where only a call would tell."""
    try:
        return inspect.signature(found, follow_wrapped=False)
    except Exception:
        return None


def _required(found: Any) -> List[str]:
    """The names of the parameters that a call by position has to fill."""
    signature = _signature(found)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature.parameters.values() if signature else ()
    return [one.name for one in parameters if one.kind in kinds and one.default is inspect.Parameter.empty]


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _check(found: Any, interface: str, typed: str, source: str) -> None:
    signature = _signature(found)
    if signature is None or _takes(signature, 3 if interface == "asgi" else 2):
        return
    if _takes(signature, 0):
        raise LoadError(
            f"`{typed}` takes no arguments, so it is not an app; if it makes the app, write `{source}:{typed}()` or add"
            " --factory"
        )
    if _takes(signature, 1) and (_required(found) == ["scope"] or _is_of_asgi_2(found)):
        raise LoadError(
            f"`{typed}` is an application of ASGI 2, which takes `scope` alone; serve"
            f" `asgiref.compatibility.guarantee_single_callable({typed})` instead"
        )
    wanted = {
        "asgi": "an ASGI application takes (scope, receive, send)",
        "wsgi": "a WSGI application takes (environ, start_response), and an ASGI one (scope, receive, send)",
    }
    raise LoadError(
        f"`{typed}` takes {signature} and is not an app: {wanted[interface]}; if it makes the app, write"
        f" `{source}:{typed}(...)` with its arguments"
    )


def _is_of_asgi_2(found: Any) -> bool:
    return inspect.isclass(found) and inspect.iscoroutinefunction(found.__call__)


def report(worker: _native.Worker, problem: BaseException) -> None:
    """Tells the hub why what is to be served does not load."""
    failure = describe(problem)
    file: Optional[str] = failure.file or worker.source
    line, message, details = failure.line, failure.message, failure.traceback
    if isinstance(problem, LoadError):
        file, line, message, details = worker.source, None, str(problem), problem.details
    elif isinstance(problem, ModuleNotFoundError) and problem.name and failure.file is None:
        file, line = None, None
        message = f"cannot serve `{worker.source}`: there is neither a script nor a module of this name here"
        message += _near_module(worker.source)
    elif isinstance(problem, ModuleNotFoundError) and str(problem) == f"No module named {problem.name!r}":
        message = _missing(str(problem.name))
    elif isinstance(problem, ImportError) and "no known parent package" in str(problem):
        dotted = worker.source[: -len(".py")].replace("/", ".")
        message += f"; as a part of its package it is `kennel run {dotted}`"
    elif isinstance(problem, SystemExit):
        message = f"the script ended itself while it was loaded ({message})"
    worker.fail(message, file, line, details)


def _near_module(name: str) -> str:
    """Which module or script of this folder was probably meant."""
    known = [os.path.splitext(entry.name)[0] for entry in os.scandir() if entry.name.endswith((".py", ".lua"))]
    known += [entry.name for entry in os.scandir() if os.path.isfile(os.path.join(entry.path, "__init__.py"))]
    near = difflib.get_close_matches(name, known, 1, 0.7)
    if not near:
        return ""
    return f"; did you mean `{near[0]}{'.lua' if os.path.isfile(near[0] + '.lua') else ''}`?"


def _missing(name: str) -> str:
    """Of a module that Python did not find, in its own words."""
    package = name.partition(".")[0]
    text = f"there is no module `{name}` for {sys.executable}"
    with contextlib.suppress(Exception):
        if importlib.util.find_spec(package) is not None:
            return f"{text}, but `{package}` is there"
    return f"{text}; it may come with: {sys.executable} -m pip install {package}"
