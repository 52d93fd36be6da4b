"""Who may ask the server: a token in constant time, known hosts and origins alone, bodies of a limited size."""

import hmac
import ipaddress
import socket
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 32 << 20  # bytes of an upload
LOCAL = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}


class TooLarge(Exception):
    """A body of more than LARGEST bytes."""


class Guard:
    """Middleware that answers 403 to other hosts, foreign origins and wrong tokens, and 413 to large bodies.

    A name in the Host header that is not this machine's is refused, so that a page elsewhere cannot reach the server
    by letting its own name point here (DNS rebinding). `remote`: also names and addresses of this machine's network.
    """

    def __init__(self, app: ASGIApp, token: str, port: int, remote: bool = False) -> None:
        self.app, self.token, self.port, self.remote = app, token, port, remote
        self.cookie = f"gendesign_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on to the app."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reason, status = self._objection(scope, headers)
        if reason:
            await JSONResponse({"error": reason}, status)(scope, receive, self._with_headers(send, None))
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        await self.app(scope, _limited(receive), self._with_headers(send, self.token if given else None))

    def _objection(self, scope: Scope, headers: Headers) -> tuple[str, int]:
        host = headers.get("host", "")
        if not self._is_own(host):
            return f"the host '{host[:60]}' is not this tool's; open the address that it has printed", 403
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return "requests of other pages are refused", 403
        if not self._has_token(scope, headers):
            return "the token is missing or wrong; open the address that gendesign view has printed", 403
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > LARGEST:
            return f"this is larger than {LARGEST >> 20} MB; drop a smaller file, or open it on the command line", 413
        return "", 200

    def _is_own(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        if port != str(self.port):
            return False
        if name in LOCAL:
            return True
        if not self.remote:
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in (socket.gethostname(), socket.getfqdn())
        return True

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        # cookies of every server on this machine arrive here; the parser skips those that are not well formed
        cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        query = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        # all are compared, so that the time says nothing of which one was nearly right
        given = (query, headers.get("x-token", ""), cookie)
        return any([hmac.compare_digest(text.encode(), self.token.encode()) for text in given])

    def _with_headers(self, send: Send, token: str | None) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if token is not None:
                    headers.append("set-cookie", f"{self.cookie}={token}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        return sending


def _limited(receive: Receive) -> Receive:
    """`receive`, which raises TooLarge when a body without a stated size grows too long."""
    total = 0

    async def receiving() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > LARGEST:
            raise TooLarge
        return message

    return receiving
