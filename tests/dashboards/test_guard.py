"""The one rule of who may reach a page, as it is and through both of its adapters."""

import asyncio
import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.guard import COOKIE, Guard, Request, hosts, same

HOSTS = hosts(5003)
OPEN = Guard(HOSTS)
LOCKED = Guard(HOSTS, password="a long word, слово")
READER = Guard(HOSTS, writes=(r"PUT /api/studies/\d+/note",), artifacts=("/artifacts/",))

names = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)
host_values = st.one_of(
    names,
    st.sampled_from(sorted(HOSTS)),
    st.from_regex(r"(localhost|127\.0\.0\.1)[.:@][a-z0-9]{0,9}", fullmatch=True),
)
methods = st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"])
extra = st.lists(
    st.tuples(
        st.sampled_from(["origin", "sec-fetch-site", "cookie", "authorization", "host", "x-forwarded-host"]),
        st.one_of(
            names, st.sampled_from(["http://localhost:5003", "null", "cross-site", "same-origin", "none"])
        ),
    ),
    max_size=4,
)


def asked(guard, method, path, headers):
    return guard.refusal(Request(method, path, headers))


def basic(password, user="me"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@given(host_values, methods)
def test_only_a_host_of_the_list_passes(host, method):
    refused = asked(OPEN, method, "/", [("host", host)])
    assert (refused is None) == (host.lower() in HOSTS)
    assert refused is None or refused.status == 421


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "localhost:5003"), ("host", "localhost:5003")],
        [("host", "localhost:5003,localhost:5003")],
        [("host", "localhost")],
        [("host", "localhost:5002")],
        [("host", "127.0.0.1.evil.example:5003")],
        [("host", "evil.example"), ("x-forwarded-host", "localhost:5003")],
    ],
)
def test_a_host_that_is_missing_doubled_or_nearly_right_is_refused(headers):
    assert asked(OPEN, "GET", "/", headers).status == 421


@given(st.sampled_from(sorted(HOSTS)), names, methods)
def test_only_the_pages_own_origin_passes(host, origin, method):
    refused = asked(OPEN, method, "/", [("host", host), ("origin", origin)])
    assert (refused is None) == (origin.lower() == f"http://{host}")
    assert asked(OPEN, method, "/", [("host", host), ("origin", f"http://{host}")]) is None


@pytest.mark.parametrize(
    "origin", ["null", "http://localhost:5002", "https://localhost:5003", "http://127.0.0.1:5003"]
)
def test_another_port_or_name_of_this_machine_is_another_page(origin):
    assert asked(OPEN, "GET", "/", [("host", "localhost:5003"), ("origin", origin)]).status == 403


@given(methods, names)
def test_whoever_writes_comes_from_the_page_itself(method, site):
    refused = asked(OPEN, method, "/", [("host", "localhost:5003"), ("sec-fetch-site", site)])
    own = method in ("GET", "HEAD", "OPTIONS") or site in ("", "same-origin", "none")
    assert (refused is None) == own


@pytest.mark.parametrize(
    ("request_line", "passes"),
    [
        ("GET /api/studies/1", True),
        ("PUT /api/studies/1/note", True),
        ("PUT /api/studies/1/note/x", False),
        ("POST /api/studies/1/rename", False),
        ("DELETE /api/studies/1", False),
        ("POST /api/studies/1/note", False),
    ],
)
def test_a_page_for_reading_takes_only_the_changes_of_its_list(request_line, passes):
    method, path = request_line.split()
    refused = asked(READER, method, path, [("host", "localhost:5003")])
    assert (refused is None) == passes
    assert passes or "--allow-edit" in refused.text


@given(st.text(max_size=40))
def test_only_the_password_opens(password):
    refused = asked(LOCKED, "GET", "/", [("host", "localhost:5003"), ("authorization", basic(password))])
    assert (refused is None) == (password == LOCKED.password)


@given(names)
def test_no_other_authorization_or_cookie_opens(text):
    for header in (
        ("authorization", text),
        ("authorization", f"Basic {text}"),
        ("cookie", f"{COOKIE}={text}"),
    ):
        refused = asked(LOCKED, "GET", "/", [("host", "localhost:5003"), header])
        assert refused.status == 401
        assert refused.headers[0][0] == "www-authenticate"


def test_a_password_once_given_is_remembered_by_a_cookie_for_all_ports():
    first = Request("GET", "/", [("host", "localhost:5003"), ("authorization", basic(LOCKED.password))])
    [cookie] = [value for name, value in LOCKED.answered(first, []) if name == "set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert LOCKED.password not in cookie
    kept = ("cookie", "other=1; " + cookie.partition(";")[0])
    other_port = Guard(hosts(5001), password=LOCKED.password)
    assert asked(other_port, "GET", "/", [("host", "localhost:5001"), kept]) is None
    again = Request("GET", "/", [("host", "localhost:5003"), kept])
    assert not [value for name, value in LOCKED.answered(again, []) if name == "set-cookie"]
    assert (
        asked(Guard(HOSTS, password="another"), "GET", "/", [("host", "localhost:5003"), kept]).status == 401
    )


def test_headers_that_let_other_pages_in_are_taken_out_and_safe_ones_added():
    given_headers = [
        ("access-control-allow-origin", "*"),
        ("content-type", "audio/wav"),
        ("content-security-policy", "default-src 'none'"),
    ]
    headers = READER.answered(Request("GET", "/artifacts/1/2/3", []), given_headers)
    assert not [name for name, _ in headers if name.startswith("access-control")]
    assert [value for name, value in headers if name == "content-security-policy"] == ["default-src 'none'"]
    assert dict(headers)["x-content-type-options"] == "nosniff"
    assert dict(headers)["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    "kind", ["text/html", "text/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml"]
)
def test_an_artifact_that_a_browser_would_run_is_only_handed_out(kind):
    given_headers = [("content-type", kind), ("content-disposition", "inline")]
    headers = READER.answered(Request("GET", "/artifacts/1/2/3", []), given_headers)
    assert [value for name, value in headers if name == "content-disposition"] == ["attachment"]
    assert ("content-security-policy", "sandbox") in headers
    page = READER.answered(Request("GET", "/dashboard", []), given_headers)
    assert ("content-disposition", "inline") in page


def by_asgi(guard, method, path, headers):
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-App", b"1")]})
        await send({"type": "http.response.body", "body": b"in"})

    async def send(message):
        sent.append(message)

    raw = [(name.title().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    asyncio.run(guard.asgi(app)(scope, None, send))
    found = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"]


@given(st.sampled_from([OPEN, LOCKED, READER]), methods, host_values, extra)
def test_the_adapter_says_what_the_rule_says(guard, method, host, others):
    headers = list({"host": host, **dict(others)}.items())
    path = "/artifacts/1"
    refused = asked(guard, method, path, headers)
    status, found, body = by_asgi(guard, method, path, headers)
    assert status == (refused.status if refused else 200)
    assert (body == b"in") == (refused is None)
    assert found["x-content-type-options"] == "nosniff"


def test_web_sockets_are_refused_and_the_life_of_the_server_is_not_guarded():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    async def send(message):
        seen.append(message)

    guarded = OPEN.asgi(app)
    asyncio.run(guarded({"type": "websocket", "headers": []}, None, send))
    asyncio.run(guarded({"type": "lifespan"}, None, send))
    assert seen == [{"type": "websocket.close", "code": 1008}, "lifespan"]


def test_names_are_given_with_or_without_a_port():
    assert hosts(80, ["box.example", "Box:81"]) == {
        *("localhost:80", "127.0.0.1:80", "[::1]:80", "box.example:80", "box:81")
    }


@given(st.text(), st.text())
def test_secrets_are_compared_whole(one, other):
    assert same(one, other) == (one == other)


def test_a_refusal_names_what_is_allowed_and_never_what_was_asked():
    refused = asked(OPEN, "GET", "/", [("host", "<script>evil")])
    assert "localhost:5003" in refused.text
    assert not re.search("script|evil", refused.text)
