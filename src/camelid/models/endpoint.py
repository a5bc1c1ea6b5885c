"""An address that takes JSON by POST and wants a key. Standard library only; imports no torch.

The key is read from an environment variable, or from a file of its owner alone. It is part of no setting, hence of no
manifest, and is cut out of every text that goes into an error. Redirects are not followed: urllib would hand the key on
to the next host. Proxies come from the environment, as urllib reads them.
"""

from __future__ import annotations

import email.utils
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from camelid import __version__

PIECE = 1 << 16
MAX_BYTES = 16 * 2**20
"""Longest body that is read; a longer one is cut, and then no JSON."""
MAX_QUOTED_CHARS = 300


class Answer(NamedTuple):
    """What the server sent back, whatever its status."""

    status: int
    body: str
    retry_after: float | None
    """Seconds that the server asks to wait before the next request."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None  # the redirect comes back as an HTTPError, like any other status that is no success


class Endpoint:
    """Raises ValueError for an address that is no plain http or https URL, for a key file that is empty or that others
    may read, and for a key that no header can carry."""

    def __init__(self, address: str, key_variable: str, timeout_seconds: float, key_file: str = ""):
        self.address = _checked(address)
        self.timeout_seconds = timeout_seconds
        self._key = _read_key(Path(key_file)) if key_file else os.environ.get(key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):  # http.client's own error would quote the key
            raise ValueError(f"the key in {key_file or key_variable} has signs that no HTTP header can carry")
        self._opener = urllib.request.build_opener(_NoRedirects)

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    def post(self, data: bytes) -> Answer:
        """Send JSON. Raises ConnectionError with the reason where no whole answer came."""
        headers = {"Content-Type": "application/json", "User-Agent": f"camelid/{__version__}"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.address, data, headers)
        try:
            try:
                response = self._opener.open(request, timeout=self.timeout_seconds)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                body = self._read(response).decode("utf-8", "replace")
                return Answer(response.status, body, parse_retry_after(response.headers.get("Retry-After", "")))
        except (OSError, http.client.HTTPException) as error:  # URLError and TimeoutError are OSErrors
            raise ConnectionError(self.quote(f"{type(error).__name__}: {error}")) from None

    def _read(self, response: Any) -> bytes:
        """The body, as much of it as came. A socket's own timeout begins anew with each byte that comes."""
        until, pieces, size = time.monotonic() + self.timeout_seconds, [], 0
        while size < MAX_BYTES and (piece := response.read1(PIECE)):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > until:
                raise TimeoutError(f"no whole answer within {self.timeout_seconds:g} s of its beginning")
        return b"".join(pieces)[:MAX_BYTES]

    def quote(self, text: str) -> str:
        """A foreign text in one short line, without the key. Cut last: half a key would not be found."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:MAX_QUOTED_CHARS] or "nothing"


def parse_retry_after(value: str) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, section 10.2.3); None if neither."""
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _read_key(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise ValueError(f"others may read the key in {path}: chmod 600 {path}")
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"key_file {path}: {error.strerror}") from None
    if not key:
        raise ValueError(f"{path} holds no key")
    return key


def _checked(address: str) -> str:
    if re.search(r"[@?#]", address):  # not quoted here, and not for the manifest
        raise ValueError("the server's address holds a password or a query; put the key into an environment variable")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[^!-~]", address):
        raise ValueError(f"{address!r} is no address of a server; write one such as http://localhost:8000/v1")
    return address
