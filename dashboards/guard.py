"""The guard of all pages: which requests pass, by Host, Origin, fetch site, key and path.

A page on loopback is within reach of every web site that is open in the same browser: by a form, a script or
a name that resolves to 127.0.0.1. So a request must name the page as its user would, and come from itself.
It is within reach of every user of the machine, too. So it must bring the page's key: once in the address,
then in a cookie.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_plus

LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")  # any port: an SSH tunnel has its own
COOKIE = "smart_tuner"  # then the page and its port: browsers send a host's cookies to all of its ports
KEY = "key"  # of an address
OWN_SITES = ("", "same-origin", "none")
READING = ("GET", "HEAD", "OPTIONS")
# A path that a program might take for another one than it is matched as.
ODD_PATH = re.compile(r"(?!/)|.*(//|\\|/\.{1,2}(/|$)|[\x00-\x1f\x7f])", re.DOTALL)
OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")
# What a browser would run, were it opened from an artifact's own address.
ACTIVE = re.compile(r"text/(html|xml|xsl)|application/xml|multipart/x-mixed-replace|.*\+xml")
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

STATIC = r"[\w-]+(\.[\w-]+)*(/[\w-]+(\.[\w-]+)*)*"  # a path of files that a program brings along

Headers = list[tuple[str, str]]  # names in small letters
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """A request, as the guard sees it.

    Args:
        path: decoded.
        query: as it was sent.
    """

    method: str
    path: str
    headers: Headers
    query: str = ""

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def one(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    def given_keys(self) -> list[str]:
        """The keys in the request's address."""
        return [unquote_plus(text[len(KEY) + 1 :]) for text in self.query.split("&") if _is_key(text)]

    def without_key(self) -> str:
        """The same address, from its path on."""
        rest = "&".join(text for text in self.query.split("&") if not _is_key(text))
        return quote(self.path) + (f"?{rest}" if rest else "")


@dataclass(frozen=True)
class Answer:
    """An answer that is given instead of the page."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Guard:
    """The rule of one page.

    Args:
        page: its name.
        hosts: the only values of Host, with their port, besides those of this machine.
        key: what opens the page (see `key_of`); None: it is open to all who reach it.
        allowed: patterns of "METHOD /path", the only requests that pass; None: all do.
        artifacts: patterns of paths whose content comes from elsewhere; none of it is run.
        password: opens the page, too, but only as the password of HTTP Basic.
    """

    page: str
    hosts: frozenset[str] = frozenset()
    key: str | None = None
    allowed: tuple[str, ...] | None = None
    artifacts: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)

    @property
    def entrance(self) -> str:
        """The part of an address behind host and port that opens the page."""
        return "/" if self.key is None else f"/?{KEY}={self.key}"

    def instead(self, request: Request) -> Answer | None:
        """The answer that is given instead of the page; None where the request may pass."""
        return self._refusal(request) or self._way_in(request)

    def _refusal(self, request: Request) -> Answer | None:
        hosts = request.all("host")
        if len(hosts) != 1 or not self._is_called(hosts[0].lower()):
            return Answer(421, f"This page answers only as {', '.join(('localhost', *sorted(self.hosts)))}.")
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in request.all("origin")):
            return Answer(403, "This request comes from another page.")
        if request.method not in READING and any(
            site not in OWN_SITES for site in request.all("sec-fetch-site")
        ):
            return Answer(403, "This request comes from another site.")
        if not self._is_opened(request):
            ask = (ASK,) if request.one("sec-fetch-mode") in ("", "navigate") else ()
            return Answer(401, "The page's key is needed; run_study.py pages --status shows it.", ask)
        if ODD_PATH.match(request.path) or any(request.all(name) for name in OVERRIDES):
            return Answer(400, "This request could be read in two ways.")
        if not self._is_allowed(request):
            return Answer(403, READ_ONLY)
        return None

    def _is_called(self, host: str) -> bool:
        return host in self.hosts or LOOPBACK.fullmatch(host) is not None

    def _is_allowed(self, request: Request) -> bool:
        asked = f"{'GET' if request.method == 'HEAD' else request.method} {request.path}"
        return self.allowed is None or any(re.fullmatch(pattern, asked) for pattern in self.allowed)

    def _is_opened(self, request: Request) -> bool:
        return (
            self.key is None
            or self._by_address(request)
            or any(same(value, self.key) for value in self._cookies(request))
            or self._by_login(request)
        )

    def _by_address(self, request: Request) -> bool:
        return request.method in ("GET", "HEAD") and any(
            same(key, self.key or "") for key in request.given_keys()
        )

    def _by_login(self, request: Request) -> bool:
        """By the key, as programs send it, or the password, as a person types it."""
        given = self._password(request)
        return any(same(given, wanted) for wanted in (self.key, self.password) if wanted)

    def _cookies(self, request: Request) -> list[str]:
        pairs = (part.strip().partition("=") for line in request.all("cookie") for part in line.split(";"))
        return [value for name, _, value in pairs if name == self._cookie(request)]

    def _cookie(self, request: Request) -> str:
        """The name of the page's cookie, with the port that the browser sees."""
        port = re.search(r":(\d+)$", request.one("host"))
        return f"{COOKIE}_{self.page}_{port[1] if port else 80}"

    def _password(self, request: Request) -> str:
        kind, _, encoded = request.one("authorization").partition(" ")
        if kind.lower() != "basic":
            return ""
        try:
            login = base64.b64decode(encoded, validate=True).decode()
        except ValueError:  # not base64, or not UTF-8
            return ""
        return login.partition(":")[2]

    def _way_in(self, request: Request) -> Answer | None:
        """From an address with the key to the same without it, and the cookie."""
        if self.key is None or not self._by_address(request):
            return None
        there = request.without_key()
        cookie = f"{self._cookie(request)}={self.key}; Path=/; HttpOnly; SameSite=Strict"
        if request.one("sec-fetch-site") == "cross-site":  # after a redirect it would not be sent
            return Answer(200, "", (("refresh", f"0; url={there}"), ("set-cookie", cookie)))
        return Answer(303, "", (("location", there), ("set-cookie", cookie)))

    def answered(self, request: Request, headers: Iterable[tuple[str, str]]) -> Headers:
        """The headers of an answer to `request`, as they may leave."""
        kept = [(name, value) for name, value in headers if not name.startswith("access-control-")]
        if any(re.match(pattern, request.path) for pattern in self.artifacts) and any(
            is_active(value) for name, value in kept if name == "content-type"
        ):
            kept = [(name, value) for name, value in kept if name != "content-disposition"]
            kept += [("content-disposition", "attachment"), ("content-security-policy", "sandbox")]
        present = {name for name, _ in kept}
        return kept + [(name, value) for name, value in ALWAYS if name not in present]

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
            query = scope.get("query_string", b"").decode("latin-1")
            request = Request(scope["method"], scope["path"], headers, query)

            async def send_on(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    given = [
                        (n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in message["headers"]
                    ]
                    message = {**message, "headers": _encoded(self.answered(request, given))}
                await send(message)

            if (answer := self.instead(request)) is None:
                await app(scope, receive, send_on)
            else:
                given = [*PLAIN, *answer.headers]
                await send_on(
                    {"type": "http.response.start", "status": answer.status, "headers": _encoded(given)}
                )
                await send({"type": "http.response.body", "body": f"{answer.text}\n".encode()})

        return guarded


ASK = ("www-authenticate", 'Basic realm="Smart Tuner", charset="UTF-8"')
PLAIN = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))


READ_ONLY = (
    "This page is for reading, and this is not on the list of what it reads.\n"
    "optuna-dashboard takes changes with: run_study.py pages --allow-edit"
)


def key_of(secret: str, page: str) -> str:
    """A page's own key, by which nobody finds another page's, or the secret."""
    return hmac.new(secret.encode(), page.encode(), hashlib.sha256).hexdigest()[:32]


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal; how long it takes does not show where they differ."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def hosts(port: int, names: Iterable[str]) -> frozenset[str]:
    """The values of Host for these names: with the port that a name has, or else `port`."""
    with_port = re.compile(r".+:\d+$")
    return frozenset(name if with_port.match(name) else f"{name}:{port}" for name in map(str.lower, names))


def is_active(kind: str) -> bool:
    """Whether a content type, or one of several with commas between, is of what a browser runs."""
    return any(ACTIVE.fullmatch(part.strip()) for part in re.split("[,;]", kind.lower()))


def _is_key(text: str) -> bool:
    return text.startswith(f"{KEY}=")


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
