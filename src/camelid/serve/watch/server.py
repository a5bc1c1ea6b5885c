"""The live view over HTTP, for browsers of this machine alone.

Bound to 127.0.0.1. A web page elsewhere that resolves its own name to 127.0.0.1 (DNS rebinding) is known by its Host
header and refused, and so is one that only sends requests (Sec-Fetch-Site). There is GET alone, there are three files
and four questions; the page may load and run nothing but these.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import parse_qsl, urlsplit

from camelid.serve.watch.view import AskedWrongly, View

ADDRESS = "127.0.0.1"
OURSELVES = ("127.0.0.1", "localhost", "[::1]")
"""Names that a browser on this machine has for it; any port, since a tunnel (`ssh -L`) may end at another."""
FIRST_PORT, PORTS = 8600, 100
PAGE = {
    "/": ("watch.html", "text/html; charset=utf-8"),
    "/watch.css": ("watch.css", "text/css; charset=utf-8"),
    "/watch.js": ("watch.js", "text/javascript; charset=utf-8"),
    "/plot.js": ("plot.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves one view. `serve_forever()` until `shutdown()`, or a KeyboardInterrupt."""

    daemon_threads = True

    def __init__(self, view: View, port: int = 0):
        """On `port`, or on the first free one from FIRST_PORT. Raises ValueError where there is none."""
        self.view = view
        page = files("camelid.serve.watch") / "page"
        self.page = {place: ((page / name).read_bytes(), kind) for place, (name, kind) in PAGE.items()}
        for tried in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS):
            try:
                super().__init__((ADDRESS, tried), Handler)
                return
            except OSError as error:
                problem = error.strerror
        raise ValueError(f"--port {tried}: {problem}; give another, or none for the first free one")

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "camelid", ""
    timeout = 60.0

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        asks = place.path.startswith("/api/")
        if not self._names_us() or (asks and not self._from_our_page()):
            self._reply(403, b"Only pages of this server may ask it.\n", "text/plain")
        elif asks:
            self._answer(place.path.removeprefix("/api/"), dict(parse_qsl(place.query)))
        elif place.path in self.server.page:
            self._reply(200, *self.server.page[place.path])
        else:
            self._reply(404, b"Nothing is here.\n", "text/plain")

    def _answer(self, question: str, given: dict[str, str]) -> None:
        try:
            status, answer = 200, self.server.view.answer(question, given)
        except AskedWrongly as error:
            status, answer = 404, {"error": str(error)}
        except OSError as error:  # a file went away while it was read
            status, answer = 503, {"error": str(error)}
        self._reply(status, json.dumps(answer, allow_nan=False).encode(), "application/json")

    def _names_us(self) -> bool:
        host = self.headers.get("Host", "").lower()
        name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
        return name in OURSELVES

    def _from_our_page(self) -> bool:
        return self.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")

    def _reply(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent: a page asks every two seconds."""
