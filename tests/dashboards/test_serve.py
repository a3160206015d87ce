"""All four pages as processes: started, guarded, found again, and ended."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from pages_running import PAGES, PROGRAM, ROOT, STUDY, Served, state
from ports import free_ports
from sqlalchemy import make_url

from benchmarks import history as made_up
from dashboards import mlflow_server
from dashboards import state as pages_state
from dashboards.guard import Guard
from dashboards.serve import Options, Pages
from dashboards.state import PagesError
from smart_tuner.store import mlflow_url
from studies.leases import process


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("pages"))
    yield served.wait()
    assert served.end() == 128 + signal.SIGTERM


def ask(method, url, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, url, headers=names, timeout=60, trust_env=False)


@pytest.mark.parametrize("page", PAGES)
def test_a_foreign_name_or_page_is_refused_on_every_port(served, page):
    url = served.url(page)
    assert ask("GET", url).status_code in (200, 302)
    port = served.ports[page]
    assert ask("GET", url, host=f"evil.example:{port}").status_code == 421
    assert ask("GET", url, host=f"127.0.0.1.evil.example:{port}").status_code == 421
    assert ask("GET", url, host="localhost").status_code == 421
    for origin in ("http://evil.example", "null", f"http://localhost:{port + 1}"):
        assert ask("GET", url, origin=origin).status_code == 403
    assert ask("POST", url, sec_fetch_site="cross-site").status_code == 403
    assert ask("POST", url, sec_fetch_site="same-site").status_code == 403


@pytest.mark.parametrize("page", PAGES)
def test_every_answer_has_the_safe_headers(served, page):
    headers = ask("GET", served.url(page)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] in ("SAMEORIGIN", "DENY")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors" in headers["content-security-policy"] or page == "tensorboard"
    assert "access-control-allow-origin" not in headers


def test_optunas_page_reads_but_takes_only_notes(served):
    made = {"study_name": "x", "directions": ["minimize"]}
    url = served.url("optuna", "/api/studies")
    assert httpx.post(url, json=made, trust_env=False).status_code == 403
    assert httpx.delete(served.url("optuna", "/api/studies/1"), trust_env=False).status_code == 403
    assert httpx.get(url, trust_env=False).json()["study_summaries"] == []


def test_mlflow_takes_runs_into_a_database_of_its_own(served):
    url = served.url("mlflow", "/api/2.0/mlflow/experiments/create")
    assert httpx.post(url, json={"name": "tried"}, timeout=60, trust_env=False).status_code == 200
    assert (served.folder / "runs" / "mlflow.db").is_file()


def test_the_pages_are_found_again_and_a_second_process_is_refused(served):
    shown = served.run("pages", "--status")
    assert shown.returncode == 0, shown.stdout
    assert all(str(port) in shown.stdout for port in served.ports.values())
    second = served.run("pages", "--only", "home", "--port", "home=5999")
    assert second.returncode == 2
    assert "--stop" in second.stderr


def test_a_page_that_dies_is_started_again(served):
    [child] = [child["pid"] for child in state(served.folder)["children"]]
    os.kill(child, signal.SIGTERM)
    deadline = time.monotonic() + 120
    while [other["pid"] for other in state(served.folder)["children"]] == [child]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    served.wait(["mlflow"])
    assert "mlflow ended; starting it again" in served.said()


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


def test_a_page_with_another_name_asks_for_a_password_once_for_all_ports(tmp_path, monkeypatch):
    monkeypatch.setenv("SMART_TUNER_PAGES_PASSWORD", "a long enough password")
    served = Served(tmp_path, "--only", "home,optuna", "--allow-host", "box.example")
    served.wait(["home", "optuna"], below=500)
    home, optuna = f"box.example:{served.ports['home']}", f"box.example:{served.ports['optuna']}"
    assert ask("GET", served.url("home"), host=home).status_code == 401
    assert ask("GET", served.url("home", "/api/home"), host=home).status_code == 401
    wrong = httpx.BasicAuth("me", "another long password")
    assert httpx.get(served.url("home"), auth=wrong, trust_env=False).status_code == 401
    right = httpx.BasicAuth("me", "a long enough password")
    opened = httpx.get(served.url("home"), auth=right, headers={"host": home}, trust_env=False)
    assert opened.status_code == 200
    cookie = "; ".join(f"{name}={value}" for name, value in opened.cookies.items())
    assert ask("GET", served.url("optuna", "/api/studies"), host=optuna, cookie=cookie).status_code == 200
    assert ask("GET", served.url("home"), host=f"evil.example:{served.ports['home']}").status_code == 421
    assert served.end() == 128 + signal.SIGTERM
    assert "a long enough password" in served.said()


def test_whoever_insists_gets_pages_without_a_password_and_is_told(tmp_path):
    served = Served(tmp_path, "--only", "home", "--allow-host", "box.example", "--insecure").wait(["home"])
    named = f"box.example:{served.ports['home']}"
    assert ask("GET", served.url("home"), host=named).status_code == 200
    assert ask("GET", served.url("home"), host="evil.example").status_code == 421
    served.end()
    assert "--insecure" in served.said()


def test_pages_run_beside_a_study_and_end_with_it(tmp_path):
    (tmp_path / "small.toml").write_text(STUDY)
    ports = dict(zip(PAGES, free_ports(4), strict=True))
    told = " ".join(f"{page}={port}" for page, port in ports.items())
    with subprocess.Popen(
        [sys.executable, PROGRAM, "start", "small.toml", "--with-pages"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SMART_TUNER_PORTS": told},
    ) as begun:
        seen = set()
        while begun.poll() is None:
            with contextlib.suppress(httpx.HTTPError, KeyError):
                found = httpx.get(
                    f"http://localhost:{ports['home']}/api/study/small", timeout=5, trust_env=False
                ).json()
                seen |= {trial["state"] for trial in found["running"] if trial["live"]}
            time.sleep(0.5)
        said = begun.stderr.read()
    assert begun.returncode == 0, said
    assert seen == {"running"}, said
    assert f"http://127.0.0.1:{ports['home']}/" in said
    assert not (tmp_path / "runs" / "pages.json").exists()


def test_all_pages_serve_a_postgresql_database_and_show_its_password_to_nobody(
    tmp_path, postgres_url, monkeypatch
):
    made_up.written(postgres_url, 5)
    monkeypatch.setenv("OPTUNA_STORAGE", postgres_url)
    served = Served(tmp_path).wait()
    [study] = httpx.get(served.url("home", "/api/home"), trust_env=False).json()["studies"]
    assert study["name"] == "history"
    found = httpx.get(served.url("optuna", "/api/studies"), trust_env=False).json()["study_summaries"]
    assert [summary["study_name"] for summary in found] == ["history"]
    url = served.url("mlflow", "/api/2.0/mlflow/experiments/create")
    assert httpx.post(url, json={"name": "tried"}, timeout=60, trust_env=False).status_code == 200
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    secret = make_url(postgres_url).password
    assert not any(secret.encode() in line for line in command_lines())
    assert served.end() == 128 + signal.SIGTERM
    assert secret not in served.said()


def command_lines():
    """Of every process of this machine, as any user sees them."""
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


def test_beyond_this_machine_a_password_is_needed(monkeypatch):
    assert Options().password() is None
    assert len(Options(host="192.0.2.1").password()) >= 20
    assert Options(host="192.0.2.1").password() != Options(host="192.0.2.1").password()
    assert Options(host="192.0.2.1", open_to_all=True).password() is None
    assert Options(names=("box.example",)).password() is not None
    with pytest.raises(PagesError, match="--allow-host"):
        Options(host="0.0.0.0").password()
    monkeypatch.setenv("SMART_TUNER_PAGES_PASSWORD", "short")
    with pytest.raises(PagesError, match="too short"):
        Options(host="192.0.2.1").password()
    options = Options(("home",), host="0.0.0.0", names=("box.example",))
    assert (options.address("home"), options.bound("home")) == (
        "http://box.example:5003/",
        "http://127.0.0.1:5003/",
    )
    assert Options(host="::", names=("box.example:8443",)).address("home") == "http://box.example:8443/"
    assert Options(host="::1").address("home") == "http://[::1]:5003/"
    guard = options.guard("home", "x" * 20)
    assert "box.example:5003" in guard.hosts and "0.0.0.0:5003" not in guard.hosts


def test_mlflow_gets_secrets_by_its_environment_and_is_never_served_unguarded(tmp_path):
    guard = Guard(frozenset({"localhost:5000"}), "pa55-w0rd-f0r-all")
    url = "postgresql://me:hidden@db.example/name"
    environment = mlflow_server.environment(url, guard)
    assert "hidden" in environment["MLFLOW_BACKEND_STORE_URI"]
    assert "search_path%3Dmlflow" in environment["MLFLOW_BACKEND_STORE_URI"]
    told = mlflow_server.guard_from(environment)
    assert (told.hosts, told.password) == (guard.hosts, guard.password)
    command = " ".join(mlflow_server.command(tmp_path, "127.0.0.1", 5000, guard))
    assert guard.password not in command and "hidden" not in command
    with pytest.raises(RuntimeError, match="started by"):
        mlflow_server.guard_from({})
    assert mlflow_url(f"sqlite:///{tmp_path}/study.db") == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_entry_point_is_declared():
    assert "smart-tuner = dashboards.mlflow_server:app" in (ROOT / "setup.cfg").read_text()
