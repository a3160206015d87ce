"""The home page's application: what it tells of studies, and what it refuses."""

import gc
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import numpy as np
import optuna
import pytest
from ports import free_ports

from benchmarks import history as made_up
from dashboards.guard import Guard
from dashboards.pages import home as home_page
from dashboards.pages.home import PAGE, policy
from dashboards.server import InThread, bound
from dashboards.synthesis.client import Busy, Lost, SynthesisClient
from smart_tuner.notify.outbox import put
from smart_tuner.repair.rule import Entry
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import open_storage

GRID = {"rows": 2, "columns": 3, "bytes": bytes(range(6))}
SAID = {
    "trial": 0,
    "step": 400,
    "digest": "d" * 64,
    "stop": "gate",
    "seconds": 1.0,
    "wave": b"RIFF-and-so-on",
    "letters": ["a", "~"],
    "alignment": GRID,
    "mel": GRID,
}


class Mouth:
    """In place of the child process."""

    def __init__(self):
        self.asked = []
        self.answer = SAID

    def speak(self, study, trial, text):
        self.asked.append((study, trial, text))
        if isinstance(self.answer, type):
            raise self.answer
        return {**self.answer, **{grid: dict(GRID) for grid in ("alignment", "mel") if grid in self.answer}}

    def close(self):
        pass


@pytest.fixture
def mouth():
    return Mouth()


@pytest.fixture
def workdir(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    made_up.written(url, 30)
    with closing(open_storage(url)) as storage:
        yield tmp_path, url, storage


@pytest.fixture
def client(workdir, mouth):
    """Over HTTP, as a browser does."""
    folder, url, storage = workdir
    [port] = free_ports(1)
    server = InThread(
        Guard("home").asgi(home_page.app(storage, url, folder, speaker=mouth)), bound("127.0.0.1", port)
    )
    with httpx.Client(base_url=f"http://localhost:{port}", timeout=120, trust_env=False) as client:
        yield client
    server.end()


def test_the_page_is_one_file_that_runs_only_its_own_script(client):
    answer = client.get("/")
    assert answer.status_code == 200
    rule = answer.headers["content-security-policy"]
    assert "default-src 'none'" in rule and "unsafe" not in rule
    assert rule == policy(PAGE.read_text("utf-8"))
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", answer.text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\bstyle=", answer.text)


def test_every_text_is_there_in_both_languages():
    page = PAGE.read_text("utf-8")
    texts = json.loads(re.search(r'id="texts">(.*?)</script>', page, re.DOTALL)[1])
    for key, pair in texts.items():
        assert len(pair) == 2 and all(pair), key
        assert set(re.findall(r"\{\d\}", pair[0])) == set(re.findall(r"\{\d\}", pair[1])), key
    script = page[page.index('"use strict"') :]
    used = set(re.findall(r"\bt\(\"([\w ]+)\"", script)) | set(
        re.findall(r"data-(?:text|label)=\"(\w+)\"", page)
    )
    assert used <= texts.keys()
    cyrillic = [key for key, pair in texts.items() if re.search("[а-яё]", pair[1])]
    assert len(cyrillic) > 0.9 * len(texts)


def test_every_refusal_has_words():
    page = PAGE.read_text("utf-8")
    texts = json.loads(re.search(r'id="texts">(.*?)</script>', page, re.DOTALL)[1])
    sources = "".join(
        (PAGE.parents[1] / name).read_text("utf-8") for name in ("pages/home.py", "synthesis/worker.py")
    )
    refusals = set(re.findall(r'(?:"error": |Refused\(\d+, )"(\w+)"', sources))
    assert len(refusals) > 10
    assert refusals <= texts.keys()


def test_an_application_that_never_ran_leaves_no_folder(workdir, tmp_path, monkeypatch):
    folder, url, storage = workdir
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    app = home_page.app(storage, url, folder)
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    del app
    gc.collect()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_study_is_told_with_its_trials_bests_and_budget(client):
    [study] = client.get("/api/home").json()["studies"]
    assert study["name"] == "history"
    found = client.get("/api/study/history").json()
    assert (found["budget"], found["started"]) == (31, 30)
    assert found["yardstick"]["copy_synthesis"] == 4.0
    table = client.get("/api/study/history/trials").json()
    values = [trial["value"] for trial in table["trials"] if trial["state"] == "complete"]
    assert found["best"]["value"] == min(values)
    assert found["steps"] == sum(trial["steps"] for trial in table["trials"])
    assert all(trial["value"] is None for trial in table["trials"] if trial["state"] != "complete")
    assert len(table["trials"][0]["rungs"]) == made_up.RUNGS
    assert client.get("/api/study/history/importance").json()["importance"]
    assert client.get("/api/study/history/trial/3").json()["measures"]
    assert found["best"]["heard"] is None  # nobody listened


def test_what_was_heard_of_the_best_voice_is_told_with_it_and_of_no_other(client, workdir):
    study = optuna.load_study(study_name="history", storage=workdir[2])
    best = client.get("/api/study/history").json()["best"]["number"]
    heard = {"cer": 0.664, "wer": 0.9, "recordings_cer": 0.12, "recordings_wer": 0.2}
    study.set_user_attr("heard", {"trial": best, **heard})
    told = client.get("/api/study/history").json()["best"]["heard"]
    assert told == {
        "letters": 34,
        "recordings": 88,
        "intelligible": False,
        "mos": None,
        "recordings_mos": None,
    }
    study.set_user_attr("heard", {"trial": best + 1, **heard})
    assert client.get("/api/study/history").json()["best"]["heard"] is None


def test_the_version_changes_with_trials_repairs_and_ratings(client, workdir):
    def version():
        return client.get("/api/study/history").json()["version"]

    seen = [version()]
    uid = workdir[2].get_study_user_attrs(1)["uid"]
    repairs = TrialRepairs(workdir[2], uid, 3, "policy")
    repairs.add(
        Entry("repair", 100, "poor_alignment", 5, 8, "seen", changes={"x": (0.0, 1.0)}, verify_at=200)
    )
    seen.append(version())
    sample = client.post("/api/speak", json={"study": "history", "text": "hello"}).json()["sample"]
    for score in (3, 4):
        client.post("/api/rate", json={"sample": sample, "score": score})
        seen.append(version())
    assert len(set(seen)) == 4


def test_a_repair_is_told_with_what_came_of_it(client, workdir):
    uid = workdir[2].get_study_user_attrs(1)["uid"]
    repairs = TrialRepairs(workdir[2], uid, 3, "policy")
    first = Entry(
        "repair", 100, "poor_alignment", 5, 8, "diagonal 0.1", changes={"x": (0.0, 1.0)}, verify_at=200
    )
    repairs.add(first)
    [fix] = client.get("/api/study/history/fixes").json()
    assert (fix["trial"], fix["changes"], fix["verify_at"]) == (3, {"x": [0.0, 1.0]}, 200)
    assert "verdict" not in fix
    repairs.add(
        Entry(
            "verdict",
            200,
            "poor_alignment",
            5,
            8,
            "",
            verdict="improved",
            parent=1,
            before={"d": 0.1},
            after={"d": 0.6},
        )
    )
    [fix] = client.get("/api/study/history/fixes").json()
    assert fix["verdict"]["verdict"] == "improved"
    assert fix["verdict"]["numbers"] == {"d": [0.1, 0.6]}
    assert (fix["picture"], fix["verdict"]["picture"]) == (None, None)


def test_the_attention_before_and_after_a_repair_is_shown_where_it_was_drawn(client, workdir):
    folder, _, storage = workdir
    repairs = TrialRepairs(storage, storage.get_study_user_attrs(1)["uid"], 3, "policy")
    repair = repairs.add(Entry("repair", 100, "poor_alignment", 5, 8, "diagonal 0.1", verify_at=200))
    verdict = repairs.add(Entry("verdict", 200, "poor_alignment", 5, 8, "", verdict="improved", parent=1))
    place = folder / "studies" / "history" / "trial-0003"
    place.mkdir(parents=True)
    for entry in (repair, verdict):
        (place / entry.picture).write_bytes(f"picture {entry.seq}".encode())
    [fix] = client.get("/api/study/history/fixes").json()
    shown = [
        client.get(f"/api/study/history/trial/3/{name}")
        for name in (fix["picture"], fix["verdict"]["picture"])
    ]
    assert [picture.text for picture in shown] == ["picture 1", "picture 2"]
    assert shown[0].headers["content-type"] == "image/png"


def test_a_study_with_the_id_of_a_deleted_one_is_another_study(client, workdir):
    _, url, storage = workdir
    assert len(client.get("/api/study/history/trials").json()["trials"]) == 30
    optuna.delete_study(study_name="history", storage=storage)
    made_up.written(url, 3)
    assert len(client.get("/api/study/history/trials").json()["trials"]) == 3


def test_what_was_left_out_of_the_data_and_what_waits_to_be_sent_are_told(client, workdir):
    found = client.get("/api/study/history").json()
    assert (found["skipped"], found["queue"]) == (None, {})
    storage, uid = workdir[2], workdir[2].get_study_user_attrs(1)["uid"]
    storage.set_study_user_attr(1, "skipped", "2 too short (a, b), of 60 clips")
    for key in ("end:1", "end:2"):
        put(storage.ours, uid, 1, "mlflow", key, {})
    found = client.get("/api/study/history").json()
    assert (found["skipped"], found["queue"]) == ("2 too short (a, b), of 60 clips", {"mlflow": 2})


def test_a_text_is_said_heard_and_rated_and_the_score_survives(client, workdir):
    wanted = {"study": "history", "trial": 0, "text": "  съешь   ещё "}
    said = client.post("/api/speak", json=wanted).json()
    assert said["text"] == "съешь ещё"
    assert said["score"] is None
    sound = client.get(f"/api/said/{said['sample']}.wav")
    assert (sound.content, sound.headers["content-type"]) == (SAID["wave"], "audio/wav")
    for score in (2, 5):
        assert client.post("/api/rate", json={"sample": said["sample"], "score": score}).json() == {
            "score": score
        }
    assert client.post("/api/speak", json=wanted).json()["score"] == 5
    table = client.get("/api/study/history/trials").json()["trials"]
    assert table[0]["ratings"]["mean"] == 5.0
    assert table[0]["ratings"]["ratings"] == 1
    assert table[1]["ratings"] is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a" * 501, "too_long"),
        ("a" * 10_000, "too_long"),
        (" \n ", "empty"),
        ("bell\x07", "control_characters"),
        ("esc\x1b[31m", "control_characters"),
        ("nul\0", "control_characters"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anybody_speaks(client, mouth, text, error):
    refused = client.post("/api/speak", json={"study": "history", "text": text})
    assert (refused.status_code, refused.json()["error"]) == (422, error)
    assert mouth.asked == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/speak", {"study": "../etc", "text": "hello"}, 422),
        ("/api/speak", {"study": "nothing", "text": "hello"}, 404),
        ("/api/speak", {"study": "history", "trial": -1, "text": "hello"}, 422),
        ("/api/speak", {"study": "history", "text": 5}, 422),
        ("/api/speak", {"study": "history", "text": "x", "path": "/etc"}, 422),
        ("/api/rate", {"sample": "0" * 64, "score": 3}, 404),
        ("/api/rate", {"sample": "../x", "score": 3}, 422),
        ("/api/rate", {"sample": "0" * 64, "score": 6}, 422),
        ("/api/rate", {"sample": "0" * 64, "score": "5"}, 422),
    ],
)
def test_odd_requests_are_refused_by_a_word(client, path, body, status):
    refused = client.post(path, json=body)
    assert refused.status_code == status
    assert refused.json()["error"]


def test_only_little_json_comes_in(client):
    form = {
        "content": "study=history&text=x",
        "headers": {"content-type": "application/x-www-form-urlencoded"},
    }
    assert client.post("/api/speak", **form).status_code == 415
    assert client.post("/api/speak", content=b"{}").status_code == 415
    assert client.post("/api/speak", json={"study": "history", "text": "x" * 20_000}).status_code == 413


def test_a_busy_or_lost_voice_is_told(client, mouth):
    mouth.answer = Busy
    assert client.post("/api/speak", json={"study": "history", "text": "x"}).status_code == 429
    mouth.answer = Lost
    assert client.post("/api/speak", json={"study": "history", "text": "x"}).status_code == 503
    mouth.answer = {"error": "unknown_characters", "characters": [["п", "U+043F", 1]]}
    refused = client.post("/api/speak", json={"study": "history", "text": "п"})
    assert (refused.status_code, refused.json()["characters"]) == (422, [["п", "U+043F", 1]])


@pytest.mark.parametrize(
    "path",
    [
        "/api/study/nothing",
        "/api/study/nothing/trials",
        "/api/study/history/trial/99",
        "/api/study/history/trial/1/sample.wav",
        "/api/study/history/trial/1/sample.toml",
        "/api/study/history/trial/1/attention-0001.png",
        "/api/said/" + "0" * 64 + ".wav",
        "/nowhere",
        "/docs",
        "/openapi.json",
    ],
)
def test_what_is_not_there_is_not_found(client, path):
    assert client.get(path).status_code == 404


def test_the_newest_step_of_a_running_trial_is_read_beside_its_checkpoints(workdir):
    folder, _, storage = workdir
    records = home_page.Records(storage, folder, now=lambda: 1100.0)
    trial = storage.create_new_trial(1)
    place = records.folder("history", 30)
    place.mkdir(parents=True)
    [running] = records.study("history")["running"]
    assert (running["live"], running["held"], running["left_seconds"]) == (None, False, None)
    live = {"at": 1000.0, "step": 30, "target": 80, "step_seconds": 0.5, "curve": []}
    (place / demo_live()).write_text(json.dumps(live))
    [running] = records.study("history")["running"]
    assert running["live"]["step"] == 30
    assert (running["silent_seconds"], running["left_seconds"]) == (100.0, 25.0)
    (place / demo_live()).write_text("{half")
    assert records.study("history")["running"][0]["live"] is None
    assert trial


def demo_live():
    """The name that the objective writes and the page reads: two packages that may not know each other."""
    from dashboards.pages.records import LIVE as READ
    from objectives.progress import LIVE as WRITTEN

    assert READ == WRITTEN
    return READ


def echoing(pipe, *arguments):
    pipe.send("ready")
    while True:
        try:
            study, _, text = pipe.recv()
        except EOFError:
            return
        if text == "die":
            raise SystemExit
        if text == "hang":
            threading.Event().wait()
        pipe.send({"said": text, "by": study})


@pytest.fixture
def speaker(tmp_path):
    speaker = SynthesisClient(echoing, ("", tmp_path), seconds=1.0)
    yield speaker
    speaker.close()


def test_a_voice_that_hangs_or_dies_is_replaced(speaker):
    assert speaker.speak("s", None, "hello") == {"said": "hello", "by": "s"}
    for text in ("die", "hang"):
        with pytest.raises(Lost):
            speaker.speak("s", None, text)
        assert speaker.speak("s", None, "again")["said"] == "again"


def test_of_fifty_at_once_a_few_are_spoken_and_the_rest_are_sent_away(tmp_path):
    gate = threading.Event()
    speaker = SynthesisClient(echoing, ("", tmp_path))
    speaker._ready = lambda ready=speaker._ready: (gate.wait(), ready())[1]
    answers = []

    def speak(number):
        try:
            answers.append(speaker.speak("s", None, str(number))["said"])
        except Busy:
            answers.append(None)
        if answers.count(None) == 45:
            gate.set()

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(speak, range(50)))
    speaker.close()
    assert answers.count(None) == 45
    assert len({answer for answer in answers if answer}) == 5


def speaking(pipe, *_):
    """A child whose every sentence takes a while."""
    pipe.send(None)
    while True:
        pipe.recv()
        time.sleep(0.3)
        pipe.send({**SAID, "alignment": dict(GRID), "mel": dict(GRID)})


def test_fifty_requests_at_once_are_answered_or_sent_away_and_the_server_lives(workdir):
    folder, url, storage = workdir
    [port] = free_ports(1)
    app = home_page.app(storage, url, folder, speaker=SynthesisClient(speaking, (url, folder)))
    server = InThread(Guard("home").asgi(app), bound("127.0.0.1", port))
    limits = httpx.Limits(max_connections=60)
    with httpx.Client(
        base_url=f"http://localhost:{port}", timeout=120, trust_env=False, limits=limits
    ) as client:

        def speak(number):
            wanted = {"study": "history", "trial": 0, "text": f"sentence {number}"}
            return client.post("/api/speak", json=wanted)

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(speak, range(50)))
        assert {answer.status_code for answer in answers} == {200, 429}
        assert {a.json()["error"] for a in answers if a.status_code == 429} == {"busy"}
        assert speak(51).status_code == 200
        assert client.get("/").status_code == 200
    server.end()


def test_grids_keep_their_shape():
    from dashboards.synthesis.worker import _grid

    grid = _grid(np.array([[0.0, 0.5, 1.0], [2.0, -1.0, 0.25]], np.float32))
    assert (grid["rows"], grid["columns"]) == (2, 3)
    assert list(grid["bytes"]) == [0, 127, 255, 255, 0, 63]


def test_a_voice_answers_with_numbers_as_it_spoke_them(tmp_path, tiny):
    from dashboards.synthesis.worker import _said
    from model.checkpoint import MANIFEST
    from model.network.tacotron2 import Tacotron2
    from model.settings import Settings
    from model.speech.audio import MelSettings
    from model.speech.text import FRONT_ENDS
    from model.speech.voice import Voice
    from studies.file.spec import load

    study = optuna.create_study()
    study.set_user_attr("spec", load("quickstart").model_dump_json())
    (tmp_path / "ckpt-00000001").mkdir()
    (tmp_path / "ckpt-00000001" / MANIFEST).write_text("{}")
    voice = Voice(Tacotron2(tiny), FRONT_ENDS["en"], MelSettings(), Settings())
    voice.model.decoder.gate_layer.linear_layer.bias.data.fill_(50.0)  # a short speech
    for text, words in (("2 dogs", "two dogs"), ("Two dogs", None)):
        assert _said(study, voice, 0, tmp_path / "ckpt-00000001", text)["words"] == words
