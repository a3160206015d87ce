"""The pages of others are reading rooms: every route of theirs is known, and only what reads is on a list."""

import asyncio
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_routes import ALL_METHODS, example, routes, statuses

from dashboards.guard import Request
from dashboards.reading import artifacts, is_reading
from dashboards.server import Options

HERE = [("host", "localhost:5000")]
AJAX = "/ajax-api/2.0/mlflow"
RUN = "0123456789abcdef" * 2
# Reviewed one by one: each of them only reads, or is one of the notes that docs/pages.md names.
READING = {
    "mlflow": {
        *(("GET", path) for path in ("/", "/static-files/<path:path>", "/get-artifact")),
        *(("GET", f"{AJAX}/experiments/{what}") for what in ("get", "get-by-name", "search")),
        *(("POST", f"{AJAX}/experiments/{what}") for what in ("search", "search-datasets")),
        *(("GET", f"{AJAX}/metrics/get-history{more}") for more in ("", "-bulk", "-bulk-interval")),
        *(("GET", f"{AJAX}/{what}") for what in ("artifacts/list", "runs/get")),
        *(("POST", f"{AJAX}/{what}/search") for what in ("runs", "logged-models")),
        *(("GET", f"{AJAX}/{what}/search") for what in ("model-versions", "registered-models")),
        *(("GET", "/ajax-api/3.0/mlflow/server-info"), ("POST", "/graphql")),
    },
    "optuna": {
        *(
            ("GET", path)
            for path in ("/", "/dashboard<:re:(/.*)?>", "/favicon.ico", "/static/<filename:path>")
        ),
        *(("GET", path) for path in ("/api/meta", "/api/studies", "/csv/<study_id:int>")),
        ("GET", "/api/studies/<study_id:int>"),
        ("GET", "/api/studies/<study_id:int>/param_importances"),
        ("GET", "/api/studies/<study_id:int>/plot/<plot_type>"),
        ("GET", "/artifacts/<study_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"),
        ("GET", "/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"),
        ("PUT", "/api/studies/<study_id:int>/note"),
        ("PUT", "/api/studies/<study_id:int>/<trial_id:int>/note"),
    },
}


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return routes(tmp_path_factory.mktemp("routes"))


def refused(page, **options):
    """The status with which a page without a key refuses a request, or None."""
    guard = Options(open_to_all=True, **options).guard(page, None)

    def status(method, path):
        answer = guard.instead(Request(method, path, HERE))
        return answer and answer.status

    return status


@pytest.mark.parametrize("page", READING)
def test_of_all_routes_of_a_program_only_those_that_read_are_let_through(known, page):
    status = refused(page)
    assert len(known[page]) > 25
    rules = {rule for _, rule in known[page]}
    for rule in rules:
        for method in ALL_METHODS:
            reads = ("GET" if method == "HEAD" else method, rule) in READING[page]
            assert status(method, example(rule)) == (None if reads else 403), (method, rule)
    assert READING[page] <= known[page]


def test_tensorboard_is_let_through_for_curves_pictures_sounds_and_texts_alone(known):
    status = refused("tensorboard")
    paths = {path for _, path in known["tensorboard"]}
    open_paths = {path for path in paths if status("GET", path) is None}
    plugins = {path.split("/")[3] for path in open_paths if path.startswith("/data/plugin/")}
    assert plugins == {"audio", "images", "scalars", "text", "timeseries"}
    assert {path for path in paths if status("POST", path) is None} == {
        "/data/plugin/scalars/scalars_multirun",
        "/data/plugin/timeseries/timeSeries",
        "/data/plugin/hparams/experiment",
        "/data/plugin/hparams/session_groups",
    }
    for method in ("OPTIONS", "PUT", "PATCH", "DELETE"):
        assert {status(method, path) for path in paths} == {403}
    assert status("GET", "/experiment/defaultExperimentId/data/plugin/timeseries/tags") is None
    assert status("GET", "/experiment/../data/plugin/projector/tensor") == 400
    assert status("GET", "/experiment/other/data/plugin/projector/tensor") == 403


def test_what_is_edited_in_optunas_page_is_let_through_when_asked_for_and_no_more(known):
    status = refused("optuna", allow_edit=True)
    still = {rule for method, rule in known["optuna"] if status(method, example(rule)) is not None}
    assert {rule for rule in still if not rule.startswith("/api/llm/")} == {"/incompatible-rdb-schema"}


class Written(BaseHTTPRequestHandler):
    """Writes down what it is asked."""

    asked: ClassVar[list[tuple[str, bool]]] = []

    def do_GET(self):
        self.asked.append((self.command, "authorization" in self.headers))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    do_HEAD = do_OPTIONS = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("key", ["a key", ""])
def test_the_table_of_routes_is_made_without_a_request_that_could_change_something(monkeypatch, key):
    monkeypatch.setattr(Written, "asked", [])
    rows = [(method, "/api/studies/<id>") for method in ALL_METHODS]
    with ThreadingHTTPServer(("127.0.0.1", 0), Written) as server:
        threading.Thread(target=server.serve_forever).start()
        theirs, owners = statuses(f"http://127.0.0.1:{server.server_port}", rows, key, lambda task: task())
        server.shutdown()
    read = [200, 200, *["not sent"] * 5]
    assert owners == read
    assert theirs == ([200] * len(rows) if key else read), "without keys a neighbour could write, too"
    assert {method for method, with_key in Written.asked if with_key or not key} == {"GET", "HEAD"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("GET", "/graphql"),
        ("GET", "/health"),
        ("GET", "/get-artifact/"),
        ("GET", "/get-artifact\n"),
        ("GET", "/model-versions/get-artifact"),
        ("GET", "/api/2.0/mlflow/runs/get"),
        ("POST", f"{AJAX}/runs/search/"),
        ("GET", f"{AJAX}/runs/get;/x"),
        ("GET", f"{AJAX}/runs/get/../create"),
        ("GET", "//ajax-api/2.0/mlflow/runs/get"),
        ("GET", "/static-files/../x"),
        ("GET", "/static-files/a%2e%2e"),
        ("GET", "/static-files/.hidden"),
        ("GET", "/AJAX-API/2.0/mlflow/runs/get"),
        ("GET", "/ajax-api/9.0/mlflow/anything/new"),
    ],
)
def test_nothing_near_the_list_is_let_through(method, path):
    assert refused("mlflow")(method, path) in (400, 403)


@given(st.text(st.characters(codec="ascii"), max_size=60).map("/".__add__), st.sampled_from(ALL_METHODS))
def test_a_path_that_nobody_knows_is_refused(path, method):
    assert (
        refused("mlflow")(method, path)
        in ((None, 400, 403) if path.startswith("/static-files/") else (400, 403))
        or path == "/"
    )


def graphql(query, **more):
    return is_reading(json.dumps({"query": query, **more}).encode())


def test_a_graphql_query_may_only_read_and_lists_no_folders():
    fields = "{ run { info { artifactUri } } }"
    assert graphql(f"query R($i: MlflowGetRunInput!) {{ mlflowGetRun(input: $i) {fields} }}")
    assert graphql(
        "query E @c(n: 1) { a: mlflowGetExperiment { experiment { ...F } } } fragment F on X { y }"
    )
    for query in (
        "mutation M { mlflowSearchRuns { runs { info { runId } } } }",
        "subscription S { mlflowGetRun { run { info { runId } } } }",
        f'{{ mlflowGetRun {fields} mlflowListArtifacts(input: {{runId: "x"}}) {{ rootUri }} }}',
        f"{{ mlflowGetRun: mlflowListArtifacts {fields} }}",
        f"query A {{ mlflowGetRun {fields} }} mutation B {{ testMutation {{ output }} }}",
        "{ ...F } fragment F on Query { mlflowListArtifacts { rootUri } }",
        "{ ... on Query { mlflowListArtifacts { rootUri } } }",
        "{ __schema { types { name } } }",
        "type Query { x: Int }",
        "",
        "{" * 5000,
    ):
        assert not graphql(query), query


@given(
    st.one_of(
        st.binary(max_size=60), st.text(max_size=60).map(lambda text: json.dumps({"query": text}).encode())
    )
)
def test_what_is_no_query_is_none_that_reads(body):
    assert is_reading(body) is False or re.search(rb"mlflow(Get|Search)", body)


@pytest.fixture
def store(tmp_path):
    """A run with a file, and beside it what is nobody else's business."""
    folder = tmp_path / "store" / "7" / RUN / "artifacts"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text("ours")
    (folder / "more" / "b.html").write_text("<script>")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "gone").symlink_to(folder / "nothing")
    (folder / "round").symlink_to(folder / "round")
    (tmp_path / "store" / "7" / ("f" * 32)).mkdir()
    (tmp_path / "store" / "7" / ("f" * 32) / "artifacts").symlink_to(tmp_path)
    return tmp_path / "store"


def got(store, address, **query):
    async def get():
        transport = httpx.ASGITransport(artifacts(store))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(address, params=query)

    return asyncio.run(get())


def test_a_runs_files_are_listed_and_given_from_our_own_store(store):
    listed = got(store, f"{AJAX}/artifacts/list", run_uuid=RUN).json()
    assert [(row["path"], row["is_dir"]) for row in listed["files"]] == [("a.txt", False), ("more", True)]
    more = got(store, f"{AJAX}/artifacts/list", run_id=RUN, path="more").json()
    assert more["files"] == [{"path": "more/b.html", "is_dir": False, "file_size": 8}]
    assert got(store, f"{AJAX}/artifacts/list", run_id=RUN, path="a.txt").json()["files"] == []
    given_out = got(store, "/get-artifact", run_uuid=RUN, path="a.txt")
    assert given_out.text == "ours"
    assert given_out.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("run", "path"),
    [
        (RUN, "link"),
        (RUN, "folder/secret"),
        (RUN, "gone"),
        (RUN, "round"),
        (RUN, "../../../../secret"),
        (RUN, "%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret"),
        (RUN, "/etc/hostname"),
        (RUN, "a\0b"),
        (RUN, "x" * 5000),
        (RUN, ""),
        ("f" * 32, "secret"),
        ("*", "a.txt"),
        ("..", "secret"),
        ("", "a.txt"),
        ("e" * 32, "a.txt"),
    ],
)
def test_no_file_beyond_the_runs_own_folder_is_given(store, run, path):
    answer = got(store, "/get-artifact", run_uuid=run, path=path)
    assert answer.status_code == 404
    assert "secret" not in answer.text
    listed = got(store, f"{AJAX}/artifacts/list", run_uuid=run, path=path)
    assert "secret" not in listed.text
