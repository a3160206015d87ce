"""What a chat hears of real studies, and what it can ask, over a server that keeps the Bot API's contract."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path

import forked
import pytest
import soundfile
from bot_api import TOKEN, serving
from small_study import LONG, QUICK, SICK, STUDY
from test_end_to_end import finished as finished_study

from smart_tuner.store.storage import open_storage
from studies.run.study import desired_state, load_study

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "run_study.py"
SECRET = TOKEN.partition(":")[2]
PATIENCE_SECONDS = 200
pytestmark = pytest.mark.timeout(600)


class Home:
    def __init__(self, folder, corpora, api, study=STUDY, notify=""):
        self.folder, self.runs, self.api = folder, folder / "runs", api
        self.name = re.search('name = "(.*)"', study).group(1)
        (folder / f"{self.name}.toml").write_text(study + notify)
        self.runs.mkdir()
        (self.runs / "corpora").symlink_to(corpora)
        self.said = []

    def run(self, *arguments, code=0, **environment):
        done = forked.run(PROGRAM, arguments, self.folder, **{**self.api.environment, **environment})
        self.said += [done.stdout, done.stderr]
        assert done.returncode == code, done.stdout + done.stderr
        return done

    @contextmanager
    def running(self, *arguments):
        """Asked to end with the context."""
        process = forked.Begun(PROGRAM, arguments, self.folder, {**os.environ, **self.api.environment})
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            self.said += process.said()

    def desired_state(self):
        with closing(open_storage(f"sqlite:///{self.runs}/study.db")) as storage:
            return desired_state(load_study(self.name, storage))

    def status(self):
        return json.loads(self.run("notify", "status", "-f", "json").stdout)


def wait_until(true, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def command_line(number):
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
    except OSError:  # it has ended
        return ""


def command_lines():
    return [command_line(process.name) for process in Path("/proc").glob("[0-9]*")]


finished = finished_study  # a fixture: under this name tests find it here


@pytest.fixture(scope="module")
def corpora(finished):
    return finished.folder / "runs" / "corpora"


@pytest.fixture
def api():
    with serving() as found:
        yield found


@pytest.fixture
def workdir(tmp_path, corpora, api):
    return Home(tmp_path, corpora, api)


@pytest.fixture(scope="module", params=[pytest.param("en", marks=pytest.mark.slow), "ru"])
def repaired(request, tmp_path_factory, corpora):
    """A study whose only trial is repaired, with its chat in one language."""
    notify = f'\n[notify]\nlanguage = "{request.param}"\n'
    with serving() as api:
        workdir = Home(tmp_path_factory.mktemp("repaired"), corpora, api, SICK, notify)
        workdir.language, workdir.processes = request.param, []
        with workdir.running("start", "sick.toml") as process:
            while process.poll() is None:
                workdir.processes += command_lines()
                time.sleep(1.0)
            assert process.returncode == 0
        yield workdir


WORDS = {
    "en": {
        "begun": "started",
        "fix": "Repair",
        "verdict": "It helped|No gain|harm",
        "best": "New best",
        "end": "finished",
    },
    "ru": {
        "begun": "начат",
        "fix": "Исправление:",
        "verdict": "Помогло|Пользы нет|хуже",
        "best": "Новое лучшее",
        "end": "заверш",
    },
}


def test_a_study_with_repairs_is_told_in_order_and_in_its_language(repaired):
    messages, words = repaired.api.messages, WORDS[repaired.language]
    assert re.search(words["begun"], messages[0].text)
    fix = next(m for m in messages if re.search(words["fix"], m.text))
    assert fix.method == "sendPhoto" and "0 → 4" in fix.text
    verdict = next(m for m in messages if re.search(words["verdict"], m.text))
    assert verdict.answers is not None and verdict.answers < verdict.id
    best = next(m for m in messages if re.search(words["best"], m.text))
    assert best.method == "sendVoice" and soundfile.info(BytesIO(best.file)).duration > 0.1
    assert messages[messages.index(best) + 1].method == "sendPhoto"
    assert re.search(words["end"], messages[-1].text)
    assert messages[0].id < fix.id < verdict.id < best.id < messages[-1].id


def test_a_repaired_trial_tells_what_was_seen_changed_and_came_of_it(repaired):
    assert any("repair poor_alignment: diagonal score" in said for said in repaired.said)
    rows = json.loads(repaired.run("fixes", "sick", "-f", "json").stdout)
    assert (rows[0]["kind"], rows[0]["rule"]) == ("repair", "poor_alignment")
    assert rows[0]["changes"] == "guided_attention_weight 0 → 4"
    story = repaired.run("fixes", "sick", "--trial", "0", "--explain").stdout
    for part in ("Trial 0", "diagonal score", "guided_attention_weight 0 → 4", "warms up over 50", "Verdict"):
        assert part in story, part
    [trial] = json.loads(repaired.run("trials", "sick", "-f", "json").stdout)
    assert trial["user_attrs"]["repairs"] >= 1
    assert trial["user_attrs"]["effective"]["guided_attention_weight"] >= 1.0
    assert "## Repairs" in repaired.run("report", "sick").stdout
    best = json.loads(repaired.run("best", "sick", "-f", "json").stdout)
    assert (best["best_assisted"], best["best_unassisted"]) == (0, None)


def test_each_message_comes_once(repaired):
    texts = [message.text for message in repaired.api.messages if message.text]
    assert len(texts) == len(set(texts))
    states = repaired.status()
    assert (states["waiting"], states["held"], states["off"]) == (0, 0, None)


def test_messages_are_in_one_language(repaired):
    for text in filter(None, repaired.api.says()):
        assert bool(re.search("[А-Яа-я]", text)) is (repaired.language == "ru")


def test_the_token_is_in_no_file_output_or_command_line(repaired):
    assert len(repaired.processes) > 10 and any("track" in line for line in repaired.processes)
    everything = [*repaired.said, *repaired.processes]
    files = [file for file in repaired.folder.rglob("*") if file.is_file()]
    assert any(file.name == "study.db" for file in files) and any(file.name == "track.log" for file in files)
    assert not [text for text in everything if SECRET in text]
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]


def test_two_workers_share_a_study_one_that_is_killed_is_started_again_and_all_is_told_once(workdir):
    with workdir.running("start", "small.toml", "--workers", "2") as running:
        wait_until(lambda: list(workdir.runs.glob("studies/small/trial-0001/ckpt-*[0-9]")), "a second trial")
        told = subprocess.run(
            ["ps", "--ppid", str(running.pid), "-o", "pid="], capture_output=True, text=True
        )
        workers = [int(line) for line in told.stdout.split() if "worker" in command_line(line)]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        assert running.wait(PATIENCE_SECONDS) == 0
    shown, said = running.said()
    assert "worker 1: " in said and "worker 2: " in said
    assert "was killed by signal 9; starting it again" in said
    assert "Best: trial" in shown
    states = [row["state"] for row in json.loads(workdir.run("trials", "small", "-f", "json").stdout)]
    assert states == ["COMPLETE", "COMPLETE"]
    workdir.run("worker", "small")  # nothing is left to do
    texts = workdir.api.says()
    assert sum("started" in text for text in texts) == 1 and "started" in texts[0]
    assert sum("finished" in text for text in texts) == 1 and "finished" in texts[-1]


def test_while_the_server_is_away_nothing_is_lost(workdir):
    (workdir.folder / "small.toml").write_text(QUICK)
    workdir.api.down = True
    workdir.run("start", "small.toml")
    assert workdir.api.says() == []
    assert workdir.status()["waiting"] >= 3
    workdir.api.down = False
    wait_until(lambda: "Nothing waits" in workdir.run("notify", "flush").stdout, "all is sent")
    texts = workdir.api.says()
    assert "started" in texts[0] and "New best" in texts[1] and "finished" in texts[-1]


def test_a_refused_token_costs_one_warning_and_doctor_says_so(workdir):
    (workdir.folder / "small.toml").write_text(QUICK)
    workdir.api.environment["TELEGRAM_BOT_TOKEN"] = "123456:another-token"
    done = workdir.run("start", "small.toml")
    assert done.stderr.count("Telegram is switched off") == 1
    assert "another-token" not in done.stderr
    assert workdir.api.says() == [] and workdir.api.calls.count("sendMessage") == 1
    assert workdir.status()["waiting"] >= 3
    refused = workdir.run("doctor", code=3)
    assert "401 Unauthorized" in refused.stdout
    assert "@BotFather" in workdir.run("notify", "test", code=2).stderr
    workdir.api.environment["TELEGRAM_BOT_TOKEN"] = TOKEN
    assert "Nothing waits" in workdir.run("notify", "flush").stdout
    assert "finished" in workdir.api.says()[-1]


def test_a_set_up_is_tried_looked_at_and_examined(workdir):
    told = workdir.run("notify", "test").stdout
    assert "@tuner_bot" in told and "Commands are taken from: 77" in told
    assert len(workdir.api.messages) == 2
    assert workdir.status()["chat"] == "4242"
    assert "@tuner_bot writes to Ann; 1 people may command" in workdir.run("doctor").stdout
    alone = {"TELEGRAM_ALLOWED_IDS": "", "TELEGRAM_CHAT_ID": ""}
    assert "Nobody has written to @tuner_bot" in workdir.run("notify", "test", **alone).stdout
    workdir.api.hear("/start", sender=31)
    assert "chat 4242 (private): Ann (31)" in workdir.run("notify", "test", **alone).stdout
    assert "shows who wrote" in workdir.run("notify", "flush", code=2, **alone).stderr


def test_without_a_set_up_nothing_is_kept_to_be_told(workdir):
    (workdir.folder / "small.toml").write_text(QUICK)
    environment = dict.fromkeys(workdir.api.environment, "")
    workdir.run("start", "small.toml", **environment)
    assert workdir.api.calls == []
    workdir.run("notify", "flush", code=2, **environment)
    assert workdir.status()["waiting"] == 0


def test_a_chat_asks_hears_a_voice_and_pauses(workdir, finished):
    shutil.copytree(finished.folder / "runs" / "studies", workdir.runs / "studies")
    shutil.copyfile(finished.folder / "runs" / "study.db", workdir.runs / "study.db")
    api = workdir.api

    def asked(text):
        before = len(api.messages)
        api.hear(text)
        wait_until(lambda: len(api.messages) > before, text)
        time.sleep(0.5)
        return api.messages[before:]

    with workdir.running("track", "--follow", "--no-tracking"):
        assert "Trials: 2 of 2" in asked("/status")[0].text
        assert "/pause /resume /stop" in asked("/help")[0].text
        assert "completed" in asked("/trials")[0].text
        assert "Nothing was repaired" in asked("/fixes")[0].text
        asked("/best")
        wait_until(lambda: any(m.method == "sendPhoto" for m in api.messages), "the best trial's picture")
        assert any(m.method == "sendVoice" for m in api.messages)
        api.hear("/say the cat sees a house")
        before = len(api.messages)
        wait_until(lambda: any(m.method == "sendVoice" for m in api.messages[before:]), "the voice")
        sound = next(m for m in api.messages[before:] if m.method == "sendVoice").file
        assert soundfile.info(BytesIO(sound)).duration > 0.02
        assert "ж" in asked("/say жук")[0].text
        [question] = asked("/pause")
        assert workdir.desired_state() == "run"
        api.press(next(b["callback_data"] for b in question.buttons if b["text"] == "Yes"))
        wait_until(lambda: workdir.desired_state() == "pause", "the pause")
        api.hear("/stop", sender=666)
        wait_until(lambda: workdir.status().get("ignored_stranger") == 1, "the stranger is counted")
    assert not [text for text in workdir.said if SECRET in text]


def test_a_study_that_is_stopped_says_how_to_go_on(workdir):
    (workdir.folder / "small.toml").write_text(LONG)
    with workdir.running("start", "small.toml"):
        wait_until(lambda: any("started" in text for text in workdir.api.says()), "the start")
        workdir.run("stop", "small")
        wait_until(lambda: any("stopped" in text for text in workdir.api.says()), "the stop")
    assert "asked to stop" in workdir.api.says()[-1]
    assert "run_study.py resume small" in workdir.api.says()[-1]
