"""All four pages as processes: started, guarded, found again, and ended."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import forked
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_running import PAGES, PROGRAM, ROOT, Served, ServedAnew, state
from ports import free_ports
from small_study import LONG
from sqlalchemy import make_url

from benchmarks import history as made_up
from dashboards import environment, mlflow_server
from dashboards import state as pages_state
from dashboards.guard import key_of
from dashboards.server import Options, Pages
from dashboards.state import PagesError
from smart_tuner.store.leases import process
from smart_tuner.store.storage import mlflow_url, open_storage

SECRETS = {
    "TELEGRAM_BOT_TOKEN": "1234:telegrams",
    "AWS_SECRET_ACCESS_KEY": "amazons",
    "PGPASSWORD": "postgres",
    "SMART_TUNER_ARTIFACTS": "s3://bucket",
    "WHATEVER_COMES": "later",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with pytest.MonkeyPatch.context() as surroundings:
        for name, secret in SECRETS.items():
            surroundings.setenv(name, secret)
        served = ServedAnew(tmp_path_factory.mktemp("pages"))
    until(lambda: (served.folder / "runs" / "pages.json").exists())
    served.taken_before_mlflow_answers = [taken(port) for port in served.ports.values()]
    served.mlflow_answered = "running on" in served.mlflow_said()
    yield served.wait()
    assert served.end() == 128 + signal.SIGTERM


def until(found, seconds=120):
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def taken(port):
    """Whether a neighbour who wants to listen there is refused."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def ask(method, url, auth=None, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, url, headers=names, auth=auth, timeout=60, trust_env=False)


@pytest.mark.parametrize("page", PAGES)
def test_a_foreign_name_or_page_is_refused_on_every_port(served, page):
    url, key = served.url(page), ("", served.key(page))
    assert ask("GET", url, key).status_code in (200, 302)
    port = served.ports[page]
    assert ask("GET", url, key, host=f"evil.example:{port}").status_code == 421
    assert ask("GET", url, key, host=f"127.0.0.1.evil.example:{port}").status_code == 421
    for origin in ("http://evil.example", "null", f"http://localhost:{port + 1}"):
        assert ask("GET", url, key, origin=origin).status_code == 403
    assert ask("POST", url, key, sec_fetch_site="cross-site").status_code == 403
    assert ask("POST", url, key, sec_fetch_site="same-site").status_code == 403


@pytest.mark.parametrize("page", PAGES)
def test_who_has_no_key_gets_nothing_of_a_page_and_who_has_it_enters_once(served, page):
    other = served.key(next(name for name in PAGES if name != page))
    for path in ("/", "/x", "/api/home", "/static-files/manifest.json", "/health", "/version", "/index.js"):
        for method in ("GET", "POST", "OPTIONS"):
            assert ask(method, served.url(page, path)).status_code == 401
        assert ask("GET", served.url(page, path), ("", other)).status_code == 401
    assert ask("GET", served.url(page, f"/?key={other}")).status_code == 401
    with httpx.Client(trust_env=False, timeout=60) as browser:
        entered = browser.get(served.entrance(page))
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert browser.get(served.url(page)).status_code in (200, 302)
        [(name, value)] = browser.cookies.items()
    tunnel = {"host": "localhost:8080", "cookie": f"{name.rpartition('_')[0]}_8080={value}"}
    assert ask("GET", served.url(page), **tunnel).status_code in (200, 302)
    assert ask("GET", served.url("home" if page != "home" else "optuna"), **tunnel).status_code == 401


def test_no_other_user_of_the_machine_finds_the_keys(served):
    keys = [served.key(page).encode() for page in PAGES]
    assert (served.folder / "runs" / "pages.json").stat().st_mode & 0o777 == 0o600
    assert not any(key in line for key in keys for line in command_lines())
    for page in PAGES:
        assert ask("GET", served.entrance(page)).status_code == 303
    log = served.folder / "runs" / "pages-mlflow.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert b"running on" in log.read_bytes()
    assert "pages --status" in served.said()
    assert not any(key in log.read_bytes() + served.said().encode() for key in keys)


@pytest.mark.parametrize("with_keys", [True, False])
def test_a_terminal_is_shown_an_address_that_opens_the_page_and_a_file_is_not(tmp_path, with_keys):
    [port] = free_ports(1)
    shown, url = [], f"sqlite:///{tmp_path}/study.db"

    def say(line):
        shown.append(line)
        pages.stop()

    with closing(open_storage(url)) as storage:
        pages = Pages(Options(("home",), {"home": port}), storage, url, tmp_path, say, with_keys)
        assert pages.run() == 0
    assert shown[0].split()[0] == "home"
    assert ("/?key=" in shown[0]) == with_keys
    assert any("--status" in line for line in shown) != with_keys


def test_what_was_not_meant_for_them_is_in_no_pages_environment(served):
    [child] = [child["pid"] for child in state(served.folder)["children"]]
    given = Path(f"/proc/{child}/environ").read_text()
    assert "MLFLOW_BACKEND_STORE_URI=" in given
    assert not [name for name, secret in SECRETS.items() if name in given or secret in given]


@pytest.mark.parametrize("page", PAGES)
def test_every_answer_has_the_safe_headers(served, page):
    for key in (None, ("", served.key(page))):
        headers = ask("GET", served.url(page), key).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] in ("SAMEORIGIN", "DENY")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors" in headers["content-security-policy"] or page == "tensorboard"
        assert "access-control-allow-origin" not in headers


def test_the_home_page_leads_who_is_in_to_the_others(served):
    for page in ("optuna", "tensorboard", "mlflow"):
        led = served.ask("home", f"/open/{page}")
        assert led.status_code == 303
        assert led.headers["location"].partition("#")[0] == served.entrance(page)
        assert ask("GET", served.url("home", f"/open/{page}")).status_code == 401
    assert served.ask("home", "/open/evil.example").status_code == 404
    for host in ("localhost:8080", "localhost", "[::1]:8080", "[::1]"):
        shown = served.ask("home", "/open/optuna", headers={"host": host})
        assert (shown.status_code, "location" in shown.headers) == (409, False)
        assert "pages --status" in shown.text and served.key("optuna") not in shown.text
    assert not any(served.key(page) in served.ask("home", "/api/home").text for page in PAGES)


def test_optunas_page_reads_but_takes_only_notes(served):
    made = {"study_name": "x", "directions": ["minimize"]}
    assert served.ask("optuna", "/api/studies", "POST", json=made).status_code == 403
    assert served.ask("optuna", "/api/studies/1", "DELETE").status_code == 403
    assert served.ask("optuna", "/api/studies").json()["study_summaries"] == []


def test_mlflows_page_takes_nothing_and_gives_no_file_that_is_not_of_a_run_of_ours(served):
    run = "ab" * 16
    database = served.folder / "runs" / "mlflow.db"
    with closing(sqlite3.connect(database)) as written, written:
        written.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, workspace) "
            "VALUES (77, 'planted', '/etc', 'active', 'default')"
        )
        written.execute(
            "INSERT INTO runs (run_uuid, name, status, experiment_id, lifecycle_stage, artifact_uri, "
            "user_id, source_type, entry_point_name, start_time, source_name, source_version) "
            "VALUES (?, 'planted', 'RUNNING', 77, 'active', '/etc', '', 'LOCAL', '', 1, '', '')",
            (run,),
        )
    seen = served.ask("mlflow", f"/ajax-api/2.0/mlflow/runs/get?run_id={run}").json()
    assert seen["run"]["info"]["artifact_uri"] == "/etc"
    for path in ("/get-artifact", "/ajax-api/2.0/mlflow/artifacts/list"):
        for query in (f"run_uuid={run}&path=hostname", f"run_id={run}&path=", f"run_uuid={run}"):
            assert served.ask("mlflow", f"{path}?{query}").status_code == 404
    listing = f'{{ mlflowListArtifacts(input: {{runId: "{run}"}}) {{ files {{ path }} }} }}'
    assert served.ask("mlflow", "/graphql", "POST", json={"query": listing}).status_code == 403
    reading = f'{{ mlflowGetRun(input: {{runId: "{run}"}}) {{ run {{ info {{ runName }} }} }} }}'
    named = served.ask("mlflow", "/graphql", "POST", json={"query": reading}).json()
    assert named["data"]["mlflowGetRun"]["run"]["info"]["runName"] == "planted"
    for path in ("/ajax-api/2.0/mlflow/experiments/create", "/ajax-api/3.0/mlflow/assistant/message"):
        assert served.ask("mlflow", path, "POST", json={"name": "tried"}).status_code == 403


def test_the_pages_are_found_again_and_a_second_process_is_refused(served):
    shown = served.run("pages", "--status")
    assert shown.returncode == 0, shown.stdout
    assert all(served.entrance(page, "127.0.0.1") in shown.stdout for page in PAGES)
    second = served.run("pages", "--only", "home", "--port", "home=5999")
    assert second.returncode == 2
    assert "--stop" in second.stderr


def test_a_page_that_dies_is_started_again(served):
    before = served.mlflow_said()
    [child] = [child["pid"] for child in state(served.folder)["children"]]
    os.kill(child, signal.SIGTERM)

    def answers_again():
        assert taken(served.ports["mlflow"]), "a neighbour would get what is meant for the page"
        return "running on" in served.mlflow_said()[len(before) :]

    until(answers_again)
    served.wait(["mlflow"])
    assert [other["pid"] for other in state(served.folder)["children"]] != [child]
    assert "mlflow ended; starting it again" in served.said()


def test_no_neighbour_gets_a_pages_port_before_the_page_answers(served):
    assert not served.mlflow_answered
    assert served.taken_before_mlflow_answers == [True] * len(PAGES)


def test_while_a_page_is_down_its_port_is_kept_and_who_asks_waits_for_it(tmp_path):
    [port] = free_ports(1)
    url, kept, answers = f"sqlite:///{tmp_path}/study.db", [], []

    def wait_for_it():
        try:
            answers.append(ask("GET", f"http://127.0.0.1:{port}/").status_code)
        finally:
            pages.stop()

    def say(line):
        if line.startswith("home ended"):
            kept.append(taken(port))
            threading.Thread(target=wait_for_it).start()
        elif line.startswith("home "):
            pages._servers["home"].ask_to_end()

    with closing(open_storage(url)) as storage:
        pages = Pages(Options(("home",), {"home": port}), storage, url, tmp_path, say)
        assert pages.run() == 0
    assert (kept, answers) == ([True], [401])


def test_what_was_served_before_the_machine_was_started_anew_is_over(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        owner = {**process(bystander.pid), "boot": "the one before", "started": "1"}
        found = {"owner": owner, "addresses": {}, "bound": {}, "children": [owner]}
        (tmp_path / "pages.json").write_text(json.dumps(found))
        assert pages_state.running(tmp_path) is None
        assert pages_state.stop(tmp_path) is False
        assert bystander.poll() is None
        assert not (tmp_path / "pages.json").exists()
        (tmp_path / "pages.json").write_text(json.dumps({**found, "owner": {**owner, "pids": "another"}}))
        with pytest.raises(PagesError, match="another container"):
            pages_state.stop(tmp_path)
        bystander.communicate(b"\n")


def test_stop_ends_them_and_leaves_nothing(tmp_path):
    served = Served(tmp_path, "--only", "home").wait(["home"])
    assert served.run("pages", "--stop").stdout.strip() == "The pages ended."
    assert served.end() == 128 + signal.SIGTERM
    assert not (tmp_path / "runs" / "pages.json").exists()
    assert served.run("pages", "--stop").stdout.strip() == "No pages are served."
    assert served.run("pages", "--status").returncode == 1


def test_a_password_of_the_environment_opens_all_pages_and_makes_no_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("SMART_TUNER_PAGES_PASSWORD", "a long enough password")
    served = Served(tmp_path, "--only", "home,optuna", "--allow-host", "box.example")
    served.wait(["home", "optuna"])
    home, optuna = f"box.example:{served.ports['home']}", f"box.example:{served.ports['optuna']}"
    assert ask("GET", served.url("home"), host=home).status_code == 401
    assert (
        ask("GET", served.url("home", "/api/home"), ("me", "another long one"), host=home).status_code == 401
    )
    right = ("me", "a long enough password")
    assert ask("GET", served.url("home"), right, host=home).status_code == 200
    assert ask("GET", served.url("optuna", "/api/studies"), right, host=optuna).status_code == 200
    assert (
        ask("GET", served.url("home"), right, host=f"evil.example:{served.ports['home']}").status_code == 421
    )
    led = ask("GET", served.url("home", "/open/optuna"), right, host=home).headers["location"]
    assert led == served.entrance("optuna", "box.example")
    assert served.key("home") != key_of("a long enough password", "home")
    assert "a long enough password" not in served.said() + str(state(tmp_path))
    assert served.end() == 128 + signal.SIGTERM


def test_pages_run_beside_a_study_and_end_with_it(tmp_path):
    (tmp_path / "small.toml").write_text(LONG)
    ports = dict(zip(PAGES, free_ports(4), strict=True))
    told = " ".join(f"{page}={port}" for page, port in ports.items())
    environment = {**os.environ, "SMART_TUNER_PORTS": told}
    begun = forked.Begun(PROGRAM, ["start", "small.toml", "--with-pages"], tmp_path, environment)

    def seen_running():
        assert begun.poll() is None, begun.said()
        with contextlib.suppress(httpx.HTTPError, KeyError, FileNotFoundError):
            key = state(tmp_path)["addresses"]["home"].partition("key=")[2]
            url = f"http://localhost:{ports['home']}/api/study/small"
            found = httpx.get(url, auth=("", key), timeout=5, trust_env=False).json()
            return [trial for trial in found["running"] if trial["live"] and trial["state"] == "running"]

    try:
        until(seen_running)
        begun.send_signal(signal.SIGTERM)
        assert begun.wait(120) == 128 + signal.SIGTERM
    finally:
        begun.kill()
    _, said = begun.said()
    assert f"http://127.0.0.1:{ports['home']}/" in said
    assert not (tmp_path / "runs" / "pages.json").exists()


def test_all_pages_serve_a_postgresql_database_and_show_its_password_to_nobody(
    tmp_path, postgres_url, monkeypatch
):
    made_up.written(postgres_url, 5)
    monkeypatch.setenv("OPTUNA_STORAGE", postgres_url)
    served = Served(tmp_path).wait()
    [study] = served.ask("home", "/api/home").json()["studies"]
    assert study["name"] == "history"
    found = served.ask("optuna", "/api/studies").json()["study_summaries"]
    assert [summary["study_name"] for summary in found] == ["history"]
    asked = "/ajax-api/2.0/mlflow/experiments/search?max_results=5"
    assert [found["name"] for found in served.ask("mlflow", asked).json()["experiments"]] == ["Default"]
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    secret = make_url(postgres_url).password
    assert not any(secret.encode() in line for line in command_lines())
    assert served.end() == 128 + signal.SIGTERM
    assert secret not in served.said()


def command_lines():
    """The command lines of all processes of this machine, as any user sees them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            yield path.read_bytes()


def test_a_taken_port_is_told_with_the_flag_that_changes_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = Options(("home",), {"home": taken.getsockname()[1]})
        with pytest.raises(PagesError, match="--port home="):
            Pages(options, None, "", tmp_path, print).run()


@pytest.mark.parametrize(
    ("only", "ports", "told"),
    [
        ("hime", [], "no page hime"),
        (None, ["home"], "no page with a port"),
        (None, ["home=0"], "no page with a port"),
        (None, ["home=70000"], "no page with a port"),
        (None, ["hime=5103"], "no page hime"),
        (None, ["home=5000"], "one port"),
    ],
)
def test_wrong_options_are_told(only, ports, told):
    with pytest.raises(PagesError, match=told):
        Options.parsed(only, ports)


def test_every_page_asks_for_its_key_unless_it_is_to_be_open(monkeypatch):
    monkeypatch.delenv("SMART_TUNER_PAGES_PASSWORD", raising=False)
    for options in (Options(), Options(host="192.0.2.1"), Options(names=("box.example",))):
        assert len(options.secret()) >= 40
        assert options.secret() != options.secret()
    assert Options(host="192.0.2.1", open_to_all=True).secret() is None
    with pytest.raises(PagesError, match="--allow-host"):
        Options(host="0.0.0.0").secret()
    assert Options().password() is None
    for bad in ("short", "not UTF-8: \udcff\udcff\udcff"):
        monkeypatch.setenv("SMART_TUNER_PAGES_PASSWORD", bad)
        with pytest.raises(PagesError, match="cannot be used"):
            Options().password()
    monkeypatch.setenv("SMART_TUNER_PAGES_PASSWORD", "a long enough password")
    assert Options().password() == "a long enough password"
    assert Options(open_to_all=True).password() is None
    assert Options().secret() != Options().secret()
    options = Options(("home",), host="0.0.0.0", names=("box.example",))
    assert (options.address("home"), options.bound("home")) == (
        "http://box.example:5003/",
        "http://127.0.0.1:5003/",
    )
    assert Options(host="::", names=("box.example:8443",)).address("home") == "http://box.example:8443/"
    assert Options(host="localhost").address("home") == "http://127.0.0.1:5003/"
    assert Options(host="::1").address("home") == "http://[::1]:5003/"
    assert options.guard("home", "x" * 20).hosts == {"box.example:5003"}
    keys = {options.guard(page, "x" * 20).key for page in PAGES}
    assert len(keys) == 4 and "x" * 20 not in keys


def test_mlflow_gets_secrets_by_its_environment_and_is_never_served_unguarded(tmp_path):
    guard = Options().guard("mlflow", "what keys are made of", "pa55-w0rd-f0r-all")
    url = "postgresql://me:hidden@db.example/name"
    given = mlflow_server.environment(url, tmp_path, guard)
    assert "hidden" in given["MLFLOW_BACKEND_STORE_URI"]
    assert "search_path%3Dmlflow" in given["MLFLOW_BACKEND_STORE_URI"]
    assert mlflow_server.told(given) == (guard, tmp_path / "artifacts" / "mlflow")
    assert not any("what keys are made of" in value for value in given.values())
    command = " ".join(mlflow_server.command(tmp_path, guard))
    assert not any(secret in command for secret in (guard.key, "hidden", "pa55-w0rd"))
    with pytest.raises(RuntimeError, match="started by"):
        mlflow_server.told({})
    assert mlflow_url(f"sqlite:///{tmp_path}/study.db") == f"sqlite:///{tmp_path}/mlflow.db"


@given(st.dictionaries(st.from_regex("[A-Z][A-Z_]{0,30}", fullmatch=True), st.text(max_size=3)))
def test_of_the_environment_only_known_names_go_on(others):
    kept = {"PATH": "/bin", "LC_ALL": "C", "OMP_NUM_THREADS": "1", "SMART_TUNER_PARENT": "1"}
    wanted = {name for name in others if environment.KEPT.fullmatch(name)}
    assert environment.bare("sqlite:///x.db", others | SECRETS | kept).keys() == kept.keys() | wanted
    on_server = environment.bare("postgresql://db.example/x", SECRETS | kept)
    assert on_server.keys() == {*kept, "PGPASSWORD"}
    begun = environment.of_pages(
        "sqlite:///x.db", {"OPTUNA_STORAGE": "u", environment.PASSWORD: "p"} | SECRETS
    )
    assert begun == {"OPTUNA_STORAGE": "u", environment.PASSWORD: "p"}


def test_a_process_that_serves_hands_on_only_what_its_pages_need(monkeypatch):
    monkeypatch.setattr(os, "environ", {"PATH": "/bin", environment.PASSWORD: "p", **SECRETS})
    environment.shed("sqlite:///x.db")
    assert os.environ == {"PATH": "/bin"}


def test_the_entry_point_is_declared():
    assert "smart-tuner = dashboards.mlflow_server:app" in (ROOT / "setup.cfg").read_text()
