"""The one rule of who may reach a page, as it is and through its adapter."""

import asyncio
import base64
import re
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.guard import LOOPBACK, Guard, Request, hosts, key_of, same

HOSTS = hosts(5003, ["box.example"])
SECRET = "a long word, слово"
OPEN = Guard("home", HOSTS)
LOCKED = Guard("home", HOSTS, key_of(SECRET, "home"))
PASSWORD = "a password of all pages, пароль"
WITH_PASSWORD = Guard("home", HOSTS, key_of(SECRET, "home"), password=PASSWORD)
OTHER = Guard("optuna", HOSTS, key_of(SECRET, "optuna"))
READER = Guard(
    "optuna",
    HOSTS,
    allowed=(r"PUT /api/studies/\d+/note", r"GET /(artifacts/)?[^/]*"),
    artifacts=("/artifacts/",),
)
HERE = ("host", "localhost:5003")

names = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)
host_values = st.one_of(
    names,
    st.sampled_from(sorted(HOSTS)),
    st.from_regex(r"(localhost|127\.0\.0\.1)[.:@][a-z0-9]{0,9}", fullmatch=True),
    st.from_regex(r"(localhost|127\.0\.0\.1|\[::1\]|box\.example)(:[0-9]{1,6})?", fullmatch=True),
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


def asked(guard, method, path, headers, query=""):
    return guard.instead(Request(method, path, headers, query))


def basic(password, user="me"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@given(host_values, methods)
def test_only_a_host_of_the_list_passes(host, method):
    refused = asked(OPEN, method, "/", [("host", host)])
    known = host.lower() in HOSTS or LOOPBACK.fullmatch(host.lower()) is not None
    assert (refused is None) == known
    assert refused is None or refused.status == 421


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1:1", "[::1]:65535", "localhost", "LOCALHOST:80"]
)
def test_a_tunnels_own_port_on_this_machine_is_as_good_as_the_pages(host):
    own = [("host", host), ("origin", f"http://{host.lower()}")]
    assert asked(OPEN, "POST", "/", own) is None
    assert asked(OPEN, "POST", "/", [("host", host), ("origin", "http://localhost:5002")]).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "localhost:5003"), ("host", "localhost:5003")],
        [("host", "localhost:5003,localhost:5003")],
        [("host", "localhost.")],
        [("host", "localhost:")],
        [("host", "localhost:5003/")],
        [("host", "127.0.0.2:5003")],
        [("host", "box.example:5002")],
        [("host", "box.example")],
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
        ("GET /x", True),
        ("HEAD /x", True),
        ("OPTIONS /x", False),
        ("POST /x", False),
        ("GET /api/studies/1", False),
        ("TRACE /x", False),
        ("get /x", False),
        ("PUT /api/studies/1/note", True),
        ("PUT /api/studies/1/note/x", False),
        ("POST /api/studies/1/rename", False),
        ("DELETE /api/studies/1", False),
        ("POST /api/studies/1/note", False),
    ],
)
def test_a_page_for_reading_takes_only_what_is_on_its_list(request_line, passes):
    method, path = request_line.split()
    refused = asked(READER, method, path, [HERE])
    assert (refused is None) == passes
    assert passes or (refused.status == 403 and "--allow-edit" in refused.text)


@pytest.mark.parametrize(
    "path",
    ["", "x", "//evil.example", "/\\evil", "/a/../b", "/a/.", "/..", "/a//b", "/a\nb", "/a\0", "/a\\..\\b"],
)
def test_a_path_that_may_be_read_in_two_ways_is_refused(path):
    assert asked(OPEN, "GET", path, [HERE]).status == 400


@pytest.mark.parametrize("name", ["x-http-method-override", "x-http-method", "x-method-override"])
def test_no_header_makes_another_method_of_a_request(name):
    assert asked(READER, "GET", "/x", [HERE, (name, "DELETE")]).status == 400


@given(st.sampled_from([LOCKED, WITH_PASSWORD]), st.text(max_size=40))
def test_no_other_word_opens(guard, word):
    assert asked(guard, "GET", "/", [HERE, ("authorization", basic(word))]).status == 401
    assert asked(guard, "GET", "/", [HERE], urlencode({"key": word})).status == 401


@pytest.mark.parametrize("guard", [LOCKED, WITH_PASSWORD])
def test_the_pages_own_key_opens_it_and_what_keys_are_made_of_does_not(guard):
    for method in ("GET", "POST"):
        assert asked(guard, method, "/", [HERE, ("authorization", basic(guard.key))]) is None
        assert asked(guard, method, "/", [HERE, ("authorization", basic(SECRET))]).status == 401
    assert asked(guard, "GET", "/", [HERE], urlencode({"key": guard.key})).status == 303
    assert asked(guard, "GET", "/", [HERE], urlencode({"key": SECRET})).status == 401


def test_a_password_opens_by_login_alone_and_leaves_no_cookie():
    login = ("authorization", basic(PASSWORD))
    assert asked(LOCKED, "GET", "/", [HERE, login]).status == 401
    assert asked(WITH_PASSWORD, "GET", "/", [HERE, login]) is None
    assert asked(WITH_PASSWORD, "POST", "/", [HERE, login]) is None
    assert asked(WITH_PASSWORD, "GET", "/", [HERE], urlencode({"key": PASSWORD})).status == 401
    for word in (PASSWORD, key_of(PASSWORD, "home")):
        kept = ("cookie", f"smart_tuner_home_5003={word}")
        assert asked(WITH_PASSWORD, "GET", "/", [HERE, kept]).status == 401
    assert PASSWORD not in repr(WITH_PASSWORD)


@given(names)
def test_no_other_authorization_or_cookie_opens(text):
    for header in (
        ("authorization", text),
        ("authorization", f"Basic {text}"),
        ("cookie", f"smart_tuner_home_5003={text}"),
        ("cookie", text),
    ):
        refused = asked(LOCKED, "GET", "/", [HERE, header])
        assert refused.status == 401
        assert refused.headers[0][0] == "www-authenticate"


def entered(guard, path="/", query="", headers=(HERE,)):
    """The answer to the address with the key: its status and headers."""
    query = f"{query}&key={guard.key}" if query else f"key={guard.key}"
    answer = asked(guard, "GET", path, list(headers), query)
    return answer.status, dict(answer.headers)


def test_an_address_with_the_key_leads_to_itself_without_it_and_leaves_a_cookie():
    status, headers = entered(LOCKED, "/api/x y", "a=%2F&monkey=1")
    assert (status, headers["location"]) == (303, "/api/x%20y?a=%2F&monkey=1")
    cookie, *marks = headers["set-cookie"].split("; ")
    assert marks == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert asked(LOCKED, "POST", "/", [HERE, ("cookie", f"other=1; {cookie}")]) is None
    assert "location" not in entered(LOCKED, headers=[HERE, ("sec-fetch-site", "cross-site")])[1]


def test_the_key_in_an_address_lets_nobody_write():
    assert asked(LOCKED, "POST", "/", [HERE], f"key={LOCKED.key}").status == 401


def test_one_pages_cookie_opens_neither_another_page_nor_the_same_at_another_port():
    cookie = entered(LOCKED)[1]["set-cookie"].partition(";")[0]
    value = cookie.partition("=")[2]
    for guard in (OTHER, Guard("home", HOSTS, key_of("another secret", "home"))):
        for name in ("home", "optuna"):
            kept = ("cookie", f"smart_tuner_{name}_5003={value}")
            assert asked(guard, "GET", "/", [HERE, kept]).status == 401
        assert asked(guard, "GET", "/", [HERE, ("authorization", basic(value))]).status == 401
    assert SECRET not in cookie
    assert asked(LOCKED, "GET", "/", [("host", "localhost:8080"), ("cookie", cookie)]).status == 401


@given(st.text(max_size=30), st.text(max_size=30))
def test_an_address_with_the_key_never_leads_to_another_host(path, query):
    answer = asked(LOCKED, "GET", path, [HERE], f"key={LOCKED.key}&{quote(query, safe='&=')}")
    if answer.status == 303:
        location = dict(answer.headers)["location"]
        assert location.startswith("/") and not location.startswith(("//", "/\\"))
        assert LOCKED.key not in location
        assert asked(LOCKED, "GET", path, [HERE], location.partition("?")[2]).status == 401
    else:
        assert answer.status == 400


def test_a_script_of_the_page_whose_key_is_old_makes_no_browser_ask_for_a_password():
    script = ("sec-fetch-mode", "cors")
    assert asked(LOCKED, "GET", "/api/home", [HERE, script]).headers == ()


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
    "kind",
    [
        *("text/html", "text/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/xsl"),
        *("application/mathml+xml", "application/rss+xml;x=1", "image/png, text/html", "a/B+XML , image/png"),
    ],
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
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b""}
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
    assert hosts(80, ["box.example", "Box:81"]) == {"box.example:80", "box:81"}


@given(st.text(), st.text())
def test_secrets_are_compared_whole(one, other):
    assert same(one, other) == (one == other)


def test_a_refusal_names_what_is_allowed_and_never_what_was_asked():
    refused = asked(OPEN, "GET", "/", [("host", "<script>evil")])
    assert "box.example:5003" in refused.text
    assert not re.search("script|evil", refused.text)
