"""WSGI applications (PEP 3333): Django, Flask and whatever else speaks it, in threads."""

from __future__ import annotations

import io
import itertools
import re
import sys
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import unquote_to_bytes

from .. import _native
from .._http.response import BODILESS, HTML, TEXT, check_status
from .._runtime import json, log
from .._serve import error_page
from .._serve.server import Server
from .spool import PIECE, open_spool

Environ = Dict[str, Any]

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

#: Requests of one worker that run at the same time, unless `--threads` says otherwise.
THREADS = 8

#: Under `kennel dev`, a longer answer than this is the application's own page about an error.
LARGE = 8 << 10


class FileWrapper:
    """`wsgi.file_wrapper`: a file as the pieces of a body."""

    def __init__(self, file: Any, block_size: int = PIECE) -> None:
        self._file = file
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data: bytes = self._file.read(self._block_size)
        if not data:
            raise StopIteration
        return data


class Wsgi(Server):
    """A WSGI application."""

    all_in_threads = True

    def __init__(self, worker: _native.Worker, application: Any) -> None:
        super().__init__(worker)
        self.application = application
        self.threads = worker.threads or THREADS
        mount = worker.mount.rstrip("/")
        self._mount = mount
        self._environ: Environ = {
            "SCRIPT_NAME": unquote_to_bytes(mount).decode("latin-1"),
            "SERVER_SOFTWARE": f"kennel/{worker.version}",
            "wsgi.version": (1, 0),
            "wsgi.errors": log._Lines("error", sys.__stderr__),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
        }

    def ready(self) -> None:
        self.announce(
            json.encode(
                {
                    "routes": [],
                    "channels": [],
                    "hooks": True,
                    "not_found": True,
                    "raw": False,
                    "interface": "wsgi",
                }
            ),
            [],
            [(self._request, "threaded job"), None, None],
        )

    def _request(self, job: _native.Job) -> None:
        """Answers one request, in a thread of the pool."""
        Exchange(self, job).run(_native.environ(job, self._environ, self._mount))


class Exchange:
    """A request and its answer."""

    __slots__ = ("_begun", "_ended", "_head", "_is_whole", "_job", "_reason", "_server")

    def __init__(self, server: Wsgi, job: _native.Job) -> None:
        self._server = server
        self._job = job
        #: Status and headers, once the application has said them.
        self._head: Optional[Tuple[int, List[Tuple[bytes, bytes]]]] = None
        #: The answer goes out in pieces; it is complete, or nobody waits for it.
        self._begun = self._ended = False
        #: As many bytes as were announced went out, before the iterator's end.
        self._is_whole = False
        #: The reason phrase of the status.
        self._reason = b""

    def run(self, environ: Environ) -> None:
        """Calls the application. Whatever becomes of that, the request is answered."""
        body: Optional[BinaryIO] = None
        noticed: Optional[List[BaseException]] = [] if self._server.worker.dev else None
        log.noticed.set(noticed)
        try:
            body = environ["wsgi.input"] = self._open_body(environ)
            result = self._server.application(environ, self.start_response)
            try:
                self._send_all(result if noticed is None else self._shown(result, environ, noticed))
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except BaseException as problem:
            self._failed(problem)
        finally:
            if body is not None:
                body.close()

    def _shown(self, result: Any, environ: Environ, noticed: List[BaseException]) -> Any:
        """Under `kennel dev`: the answer, or for a browser the error of which the framework has made a bare 500."""
        if "text/html" not in environ.get("HTTP_ACCEPT", ""):
            return result
        pieces = iter(result)
        first = next(pieces, b"")
        if self._head is None or self._head[0] < 500 or self._begun or self._ended or not noticed:
            return result if isinstance(result, (list, tuple)) else itertools.chain([first], pieces)
        kept = [first]
        while sum(map(len, kept)) <= LARGE:
            piece = next(pieces, None)
            if piece is None:
                # It is in the log already.
                html = error_page.of_exception(self._job.title, noticed[-1])
                self._head = 500, [(b"content-type", HTML.encode())]
                return [html]
            kept.append(piece)
        # A longer one is the application's own page about the error.
        return itertools.chain(kept, pieces)

    def _open_body(self, environ: Environ) -> BinaryIO:
        spooled = open_spool(self._job)
        if spooled is None:
            return io.BytesIO(self._job.body)
        file, size = spooled
        environ["CONTENT_LENGTH"] = str(size)
        return file

    def _failed(self, problem: BaseException) -> None:
        job = self._job
        if self._ended:
            # It failed behind its answer, as in `close`.
            self._server.log(job.title, problem)
        elif job.gone:
            # Nobody waits for the rest, so it is no matter how the application took that.
            job.abort()
        elif self._begun:
            self._server.log(job.title, problem)
            job.abort()
        else:
            html = self._server.log(job.title, problem)
            if html is None:
                job.respond(500, [("Content-Type", TEXT)], b"500 Internal Server Error\n")
            else:
                job.respond(500, [("Content-Type", HTML)], html.encode())

    # What the application calls.

    def start_response(
        self, status: str, headers: List[Tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Takes status and headers, which are sent with the first piece of the body."""
        if exc_info is not None:
            try:
                if self._begun or self._ended:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                # A cycle by way of this frame.
                exc_info = None
        elif self._head is not None:
            raise AssertionError("start_response was called before")
        code = status[:3]
        if not code.isdigit() or status[3:4] not in ("", " "):
            raise ValueError(f"a status begins with its number, as in `200 OK`, and not `{status}`")
        if _CONTROLS.search(status):
            raise ValueError(f"a status is one line of plain text, and not {status!r}")
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._reason = status[4:].encode("latin-1")
        self._head = check_status(int(code)), lines
        return self.write

    def write(self, data: bytes) -> None:
        """The old way of sending the body."""
        if data and self._ended:
            self._leave_out()
        elif data:
            self._send(data)

    # Sending.

    def _send_all(self, result: Any) -> None:
        if isinstance(result, (list, tuple)):
            # All that will come is there already.
            self._send_last(result[0] if len(result) == 1 else b"".join(result))
            return
        for piece in result:
            if self._ended:
                # Either the rest is of no interest, or it is more than was announced.
                if piece:
                    self._leave_out()
                break
            if piece:
                self._send(piece)
        self._send_last(b"")

    def _said(self) -> Tuple[int, List[Tuple[bytes, bytes]]]:
        if self._head is None:
            raise AssertionError("start_response has to be called before the body is sent")
        return self._head

    def _announced(self) -> Optional[int]:
        """The application's Content-Length."""
        for name, value in self._said()[1]:
            if name.lower() == b"content-length":
                # No body has the length of what is not a number; that is told when the head is written.
                return int(value) if value.isdigit() else -1
        return None

    def _send(self, piece: bytes) -> None:
        """Sends a piece of the body, and waits until there is room for the next."""
        job = self._job
        if not self._begun:
            status, headers = self._said()
            if self._announced() == len(piece):
                # It is the whole body, though perhaps not the whole iterator.
                self._respond(piece)
                self._is_whole = True
                return
            job.begin(status, headers, self._reason)
            self._begun = True
        if not job.write(piece) and not job.wait():
            job.abort()
            self._ended = True

    def _send_last(self, body: bytes) -> None:
        if self._ended:
            return
        if self._begun:
            if body:
                self._send(body)
            if not self._ended:
                self._job.end()
                self._ended = True
            return
        status, headers = self._said()
        announced = self._announced()
        if announced is None or announced == len(body) or status in BODILESS:
            self._respond(body)
            return
        # What was announced is what the client is told: the hub leaves out what is too much, and ends the connection
        # behind what is too little. An answer to HEAD tells the length of what it leaves out.
        self._job.begin(status, headers, self._reason)
        if body:
            self._job.write(body)
        self._job.end()
        self._ended = True

    def _leave_out(self) -> None:
        if self._is_whole:
            self._is_whole = False
            log.write("warn", f"{self._job.title}: longer than its Content-Length, the rest is left out")

    def _respond(self, body: bytes) -> None:
        status, headers = self._said()
        if not isinstance(body, bytes):
            raise TypeError(f"a body is bytes, not {type(body).__name__}")
        self._job.respond(status, headers, body, False, self._reason)
        self._ended = True
