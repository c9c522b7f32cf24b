"""Who may ask, and how much: keys, hosts, sizes and times, before anything is parsed."""

import asyncio
import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tunesmith.core.errors import TunesmithError, UsageError
from tunesmith.server.errors import response_of

VARIABLE = "TUNESMITH_API_KEYS"  # keys, separated by commas
OPEN_PATHS = frozenset({"/health"})
HEADER_SECONDS = 30.0  # for all headers of a request, from when its connection is free for one
BODY_SECONDS = 30.0  # for the whole body: a slow client holds a connection and nothing else
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEX_DIGITS = 64
_OF_NOTHING = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """API keys by the SHA-256 of each, with the client that it belongs to; empty: none is asked."""

    clients: Mapping[str, str]

    def client(self, authorization: str) -> str | None:
        """The client of an `Authorization: Bearer` header; None for a key that is not known."""
        scheme, _, key = authorization.partition(" ")
        if not key.strip():
            return None
        found = hashlib.sha256(key.strip().encode()).hexdigest()
        known = None
        for digest, client in self.clients.items():  # all of them, in the same time
            if hmac.compare_digest(digest, found):
                known = client
        return known if scheme.lower() == "bearer" else None


def read_keys(file: Path | None) -> Keys:
    """The keys of a file, a line `NAME:SHA256` each, and of the environment (``VARIABLE``).

    Raises UsageError for a file that cannot be read or a line of another form.
    """
    given = [key.strip() for key in os.environ.get(VARIABLE, "").split(",")]
    clients = {
        hashlib.sha256(key.encode()).hexdigest(): f"key-{number}"
        for number, key in enumerate(filter(None, given), start=1)
    }
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise UsageError(f"{file}: cannot be read: {error}.") from None
        for number, line in enumerate(lines, start=1):
            name, _, digest = line.partition("#")[0].strip().rpartition(":")
            if not digest:
                continue
            if (
                not name
                or len(digest) != _HEX_DIGITS
                or set(digest.lower()) - set("0123456789abcdef")
            ):
                raise UsageError(
                    f"{file}:{number}: this is not NAME:SHA256.",
                    remedy='Make one with: printf %s "$KEY" | sha256sum',
                )
            if digest.lower() == _OF_NOTHING:
                raise UsageError(
                    f"{file}:{number}: this is the hash of an empty key.",
                    remedy="The variable that it was made from was not set: make it again.",
                )
            clients[digest.lower()] = name
    return Keys(clients)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AccessGate:
    """Refuses what may not come in: the first thing that a request meets.

    Without keys only pages and programs of this machine may ask, by one of its own names: a web
    page whose name was made to lead here (DNS rebinding) has another one. A POST must call itself
    JSON, which a page of another origin cannot do unasked.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys, max_body_bytes: int) -> None:
        self.app, self.keys, self.max_body_bytes = app, keys, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        scope.setdefault("state", {})
        error = self._refusal(scope, headers)
        if error is None:
            await self.app(scope, _Bounded(receive, self.max_body_bytes), send)
        else:
            await response_of(error)(scope, receive, send)

    def _refusal(
        self, scope: MutableMapping[str, Any], headers: Mapping[str, str]
    ) -> TunesmithError | None:
        if scope["path"] in OPEN_PATHS:
            return None
        if self.keys.clients:
            client = self.keys.client(headers.get("authorization", ""))
            if client is None:
                return TunesmithError(
                    "The API key is missing or not known.",
                    remedy="Send it as `Authorization: Bearer KEY`.",
                    code="unauthorized",
                )
            scope["state"]["client"] = client
        elif _without_port(headers.get("host", "")) not in _LOCAL_NAMES:
            return TunesmithError(
                "This server answers by the names of its own machine only.",
                remedy="Ask 127.0.0.1, or start it with API keys.",
                code="not_allowed",
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > self.max_body_bytes:
            return _too_large(self.max_body_bytes)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            return TunesmithError(
                "A body must be JSON.",
                remedy="Send Content-Type: application/json.",
                code="unsupported_media_type",
            )
        return None


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that waits for the headers of a request so long and no longer."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there, and is waited for."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A part of a request came; with its headers the time for its body begins elsewhere."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        super().connection_lost(exc)
        self._stop()

    def _wait(self) -> None:
        is_asked = self.cycle is not None and not self.cycle.response_complete
        if is_asked:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Bounded:
    """Receives a body of at most so many bytes within the time for it; else HTTPException."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most = receive, most
        self._bytes, self._complete = 0, False
        self._until = asyncio.get_running_loop().time() + BODY_SECONDS

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        left = self._until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            raise HTTPException(408, "The body did not come in time.") from None
        self._bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._bytes > self._most:
            raise HTTPException(413, _too_large(self._most).message)
        return message


def _too_large(most: int) -> TunesmithError:
    return TunesmithError(f"A body may have {most:,} bytes.", code="too_large")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
