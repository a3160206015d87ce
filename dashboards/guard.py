"""Who may reach a page: one rule for a request's Host, Origin, fetch site and password, on all pages.

A page on loopback is within reach of every web site that is open in the same browser: by a form, a script or
a name that resolves to 127.0.0.1. So a request must name the page as its user would, and come from itself.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
COOKIE = "smart_tuner_pages"
OWN_SITES = ("", "same-origin", "none")
READING = ("GET", "HEAD", "OPTIONS")
# What a browser would run, were it opened from an artifact's own address.
ACTIVE = ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml")
# For programs of others, whose pages hold inline scripts: nothing from elsewhere, and in no frame.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
ALWAYS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("content-security-policy", POLICY),
)

Headers = list[tuple[str, str]]  # names in small letters
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """What the rule knows of a request."""

    method: str
    path: str
    headers: Headers

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def one(self, name: str) -> str:
        return next(iter(self.all(name)), "")


@dataclass(frozen=True)
class Refusal:
    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Guard:
    """The rule of one page.

    Args:
        hosts: the only values of Host, with their port.
        password: asked for when there is one.
        writes: patterns of "METHOD /path", the only requests that may change something; None: all may.
        artifacts: patterns of paths whose content comes from elsewhere; none of it is run.
    """

    hosts: frozenset[str]
    password: str | None = None
    writes: tuple[str, ...] | None = None
    artifacts: tuple[str, ...] = ()

    def refusal(self, request: Request) -> Refusal | None:
        """Why a request may not pass, or None."""
        hosts = request.all("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return Refusal(421, f"This page answers only as {', '.join(sorted(self.hosts))}.")
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in request.all("origin")):
            return Refusal(403, "This request comes from another page.")
        if request.method not in READING:
            if any(site not in OWN_SITES for site in request.all("sec-fetch-site")):
                return Refusal(403, "This request comes from another site.")
            if not self._may_write(request):
                return Refusal(403, "This page is for reading; changes need: run_study.py pages --allow-edit")
        if self.password is not None and not (self._by_cookie(request) or self._by_name(request)):
            return Refusal(401, "A password is needed; run_study.py pages showed it.", (ASK,))
        return None

    def _may_write(self, request: Request) -> bool:
        asked = f"{request.method} {request.path}"
        return self.writes is None or any(re.fullmatch(pattern, asked) for pattern in self.writes)

    def _by_cookie(self, request: Request) -> bool:
        pairs = (part.strip().partition("=") for line in request.all("cookie") for part in line.split(";"))
        return any(name == COOKIE and same(value, self._token()) for name, _, value in pairs)

    def _by_name(self, request: Request) -> bool:
        kind, _, encoded = request.one("authorization").partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            login = base64.b64decode(encoded, validate=True).decode()
        except ValueError:  # not base64, or not UTF-8
            return False
        return same(login.partition(":")[2], self.password or "")

    def _token(self) -> str:
        return hmac.new((self.password or "").encode(), COOKIE.encode(), hashlib.sha256).hexdigest()

    def answered(self, request: Request, headers: Iterable[tuple[str, str]]) -> Headers:
        """The headers of an answer to `request`, as they may leave."""
        kept = [(name, value) for name, value in headers if not name.startswith("access-control-")]
        if any(re.match(pattern, request.path) for pattern in self.artifacts):
            kind = next((value for name, value in kept if name == "content-type"), "")
            if kind.partition(";")[0].strip().lower() in ACTIVE:
                kept = [(name, value) for name, value in kept if name != "content-disposition"]
                kept += [("content-disposition", "attachment"), ("content-security-policy", "sandbox")]
        present = {name for name, _ in kept}
        kept += [(name, value) for name, value in ALWAYS if name not in present]
        if self.password is not None and self._by_name(request) and not self._by_cookie(request):
            kept.append(("set-cookie", f"{COOKIE}={self._token()}; Path=/; HttpOnly; SameSite=Strict"))
        return kept

    def asgi(self, app: ASGI) -> ASGI:
        """`app`, behind this rule. Web sockets are refused: no page has one."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
            ]
            request = Request(scope["method"], scope["path"], headers)

            async def send_on(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    given = [
                        (n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in message["headers"]
                    ]
                    message = {**message, "headers": _encoded(self.answered(request, given))}
                await send(message)

            if (refused := self.refusal(request)) is None:
                await app(scope, receive, send_on)
            else:
                given = [*PLAIN, *refused.headers]
                await send_on(
                    {"type": "http.response.start", "status": refused.status, "headers": _encoded(given)}
                )
                await send({"type": "http.response.body", "body": f"{refused.text}\n".encode()})

        return guarded


ASK = ("www-authenticate", 'Basic realm="Smart Tuner", charset="UTF-8"')
PLAIN = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def hosts(port: int, names: Iterable[str] = ()) -> frozenset[str]:
    """What Host may be on a port: loopback's names, and those given (with a port of their own, or this)."""
    with_port = re.compile(r".+:\d+$")
    given = (name.lower() for name in names)
    return frozenset(name if with_port.match(name) else f"{name}:{port}" for name in (*LOOPBACK, *given))


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
