"""The pages in a real browser, on a small study that was really run."""

import json
import re
import sqlite3
import time
from contextlib import closing, contextmanager

import in_browser
import pytest
from in_browser import until
from own_objective import own_study
from pages_running import Served, small_study
from ports import free_ports
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from dashboards.guard import Guard
from dashboards.pages import home as home_page
from dashboards.pages import records
from dashboards.server import InThread, bound
from smart_tuner.store.storage import open_storage

pytestmark = in_browser.MARKS
# What MLflow's page asks for and does without: whether users log in, its assistant, its gateway.
REFUSED = ("/mlflow/users/current", "/mlflow/assistant/", "/mlflow/gateway-proxy")


@pytest.fixture(scope="module")
def served(tmp_path_factory, mlflow_file):
    served = Served(small_study(tmp_path_factory.mktemp("browser"), mlflow_file))
    yield served.wait()
    served.end()


@pytest.fixture
def home(browser, served):
    browser.get(served.entrance("home"))
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#trials tr"))
    return browser


def text(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector).text


def faults(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def asked_hosts(browser):
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    return {url.split("/")[2] for url in urls if url.startswith(("http", "ws"))}


def loudness(browser, selector):
    """The length and the loudest sample of what an audio element plays."""
    return browser.execute_async_script(
        """
        const [selector, done] = arguments;
        fetch(document.querySelector(selector).currentSrc).then((answer) => answer.arrayBuffer())
          .then((bytes) => new OfflineAudioContext(1, 1, 22050).decodeAudioData(bytes))
          .then((sound) => done([sound.duration, Math.max(...sound.getChannelData(0).map(Math.abs))]))
          .catch((fault) => done([String(fault), 0]));
        """,
        selector,
    )


def say(browser, words):
    field = browser.find_element(By.ID, "text")
    field.clear()
    field.send_keys(words)
    browser.find_element(By.ID, "speak").click()
    until(lambda: browser.find_element(By.ID, "speak").is_enabled())


def test_home_shows_the_study_its_trials_and_the_best_ones_sound(home, served):
    assert text(home, "#question") == "Does the whole chain hold?"
    assert len(home.find_elements(By.CSS_SELECTOR, "#trials tr")) == 2
    assert "2" in text(home, "#facts dd")
    assert "no speech yet" in text(home, "#facts")  # after so few steps
    until(lambda: home.find_elements(By.CSS_SELECTOR, "#trial audio"))
    seconds, loudest = loudness(home, "#trial audio")
    assert seconds > 0.02  # how long is for a trained voice to know
    assert loudest > 0.01
    until(lambda: home.execute_script("return document.querySelector('#trial audio').readyState") >= 1)
    assert home.execute_script("return document.querySelector('#trial img').naturalWidth") > 100
    assert home.find_elements(By.CSS_SELECTOR, "#best-chart svg .curve")
    assert faults(home) == []
    assert asked_hosts(home) == {f"localhost:{served.ports['home']}"}


def test_a_typed_sentence_is_said_and_its_rating_arrives_in_the_database(home, served):
    say(home, "a new sentence")
    assert text(home, "#said-message") == ""
    seconds, loudest = loudness(home, "#voices audio")
    assert seconds > 0.02  # how long is for a trained voice to know
    assert loudest > 0.005
    pictures = home.find_elements(By.CSS_SELECTOR, "#voices canvas")
    assert len(pictures) == 2
    assert all(picture.get_attribute("aria-label") for picture in pictures)
    home.find_elements(By.CSS_SELECTOR, "#voices .stars button")[3].click()
    until(lambda: "4" in text(home, "#voices .stars [role=status]"))
    with closing(sqlite3.connect(served.folder / "runs" / "study.db")) as database:
        rows = database.execute("SELECT text, score FROM st_rating").fetchall()
    assert ("a new sentence", 4) in rows
    until(lambda: "4.0 (1)" in text(home, "#trials"))
    assert "## Ratings" in served.run("report", "small").stdout
    home.refresh()
    until(lambda: home.find_elements(By.CSS_SELECTOR, "#trials tr"))
    say(home, "a new sentence")
    assert "4" in text(home, "#voices .stars [role=status]")
    assert faults(home) == []


def test_two_trials_are_compared_without_names_until_both_are_rated(home):
    Select(home.find_element(By.ID, "one")).select_by_value("0")
    Select(home.find_element(By.ID, "two")).select_by_value("1")
    home.find_element(By.ID, "blind").click()
    say(home, "which is better")
    titles = [title.text for title in home.find_elements(By.CSS_SELECTOR, "#voices h3")]
    assert titles == ["First voice", "Second voice"]
    for fieldset in home.find_elements(By.CSS_SELECTOR, "#voices .stars"):
        fieldset.find_elements(By.TAG_NAME, "button")[2].click()
    until(lambda: "trial" in text(home, "#voices h3"))


def test_the_home_page_leads_into_the_others_and_shows_no_key(home, served):
    until(lambda: len(home.find_elements(By.CSS_SELECTOR, "#pages a")) == 3)
    assert all(served.key(page) not in home.page_source for page in served.ports)
    home.delete_all_cookies()
    home.get(served.entrance("home"))
    until(lambda: home.find_elements(By.CSS_SELECTOR, "#pages a[href$=optuna]"))[0].click()
    until(lambda: home.current_url.startswith(served.url("optuna")) and "key=" not in home.current_url)
    until(lambda: "small" in text(home, "body"))


def test_what_cannot_be_said_is_refused_in_words(home):
    home.execute_script("document.getElementById('text').value = 'a'.repeat(501)")
    home.find_element(By.ID, "speak").click()
    until(lambda: "at most 500" in text(home, "#said-message"))
    say(home, "привет")
    assert "U+043F" in text(home, "#said-message")


def test_both_languages_and_a_phones_width(home):
    home.find_element(By.ID, "language").click()
    assert text(home, "#speak") == "Произнести"
    assert home.find_element(By.TAG_NAME, "html").get_attribute("lang") == "ru"
    size = home.get_window_size()
    home.set_window_size(390, 900)
    wide = home.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    home.set_window_size(size["width"], size["height"])
    home.find_element(By.ID, "language").click()
    assert wide <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark(home, scheme):
    home.execute_script(f"document.documentElement.dataset.theme = '{scheme}'")
    worst = home.execute_script(
        """
        const style = getComputedStyle(document.documentElement);
        const light = (name) => {
          const hex = style.getPropertyValue(name).trim().slice(1);
          const [r, g, b] = [0, 2, 4].map((n) => parseInt(hex.slice(n, n + 2), 16) / 255)
            .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
          return .2126 * r + .7152 * g + .0722 * b;
        };
        const contrast = (a, b) => {
          const [low, high] = [light(a), light(b)].sort((one, two) => one - two);
          return (high + .05) / (low + .05);
        };
        const inks = ["--ink", "--soft", "--accent", "--good", "--warn", "--bad"];
        const grounds = ["--paper", "--card"];
        const all = inks.flatMap((ink) => grounds.map((ground) => contrast(ink, ground)));
        return Math.min(contrast("--accent-ink", "--accent"), ...all);
        """
    )
    assert worst >= 4.5


def test_everything_is_reached_by_the_keyboard(home):
    names = home.execute_script(
        """
        const all = [...document.querySelectorAll("a[href], button, select, textarea, input")];
        return all.filter((item) => item.tabIndex < 0 || !(item.textContent.trim() || item.ariaLabel
          || item.labels && item.labels.length)).map((item) => item.outerHTML);
        """
    )
    assert names == []


@pytest.fixture
def own_home(browser, tmp_path, monkeypatch):
    """The home page of a study of an own objective, whose third trial runs."""
    url, [port] = f"sqlite:///{tmp_path / 'study.db'}", free_ports(1)
    with closing(open_storage(url)) as storage:
        study, spec = own_study(storage)
        monkeypatch.setattr(records, "stored_spec", lambda _: spec)
        study.ask()
        folder = records.Records(storage, tmp_path).folder("quickstart", 3)
        folder.mkdir(parents=True)
        live = {"at": time.time(), "step": 7, "target": 100, "step_seconds": 0.1, "curves": ["loss"]}
        live |= {"signals": {"loss": 0.625, "hidden": 1.0}, "curve": [[1, 1.0], [7, 0.625]]}
        (folder / records.LIVE).write_text(json.dumps(live))
        app = home_page.app(storage, url, tmp_path)
        server = InThread(Guard("home").asgi(app), bound("127.0.0.1", port))
        faults(browser)
        browser.get(f"http://localhost:{port}/")
        until(lambda: browser.find_elements(By.CSS_SELECTOR, "#trials tr"))
        yield browser
        server.end()


def test_a_study_of_an_own_objective_is_shown_with_its_words_and_without_a_voice(own_home):
    assert not own_home.find_element(By.ID, "listen").is_displayed()
    assert "0.0125" in text(own_home, "#facts")
    running = text(own_home, "#running")
    assert "loss 0.625" in running and "step 7 of 100" in running and "hidden" not in running
    assert own_home.find_elements(By.CSS_SELECTOR, "#running svg .curve")
    assert "value steps accuracy error_share missing repairs rating" in text(own_home, "#trials-head")
    assert "1 complete 0.0125 100 0.987 25 %" in text(own_home, "#trials")
    until(lambda: text(own_home, "#trial").startswith("trial 1"))
    tacotrons = r"dB|distance|sentence|copy-synthesis|aligned|speech|voice|sample|attention|mel|NaN|undefined"
    assert re.findall(tacotrons, text(own_home, "main")) == []
    own_home.find_element(By.ID, "language").click()
    assert "точность" in text(own_home, "#trials-head") and "потери 0.625" in text(own_home, "#running")
    own_home.find_element(By.ID, "language").click()
    assert faults(own_home) == []


@contextmanager
def opened(browser, served, page, path):
    """Afterwards nothing went wrong, and nobody else was asked."""
    browser.get(served.entrance(page))
    browser.get("about:blank")
    faults(browser), asked_hosts(browser)
    browser.get(served.url(page, path))
    yield
    time.sleep(3)  # late requests
    assert asked_hosts(browser) == {f"localhost:{served.ports[page]}"}
    assert [fault for fault in faults(browser) if not any(asked in fault for asked in REFUSED)] == []


def pictures_shown(browser, selector="img"):
    """How many pictures with something in them."""
    wide = "return [...document.querySelectorAll(arguments[0])].filter((i) => i.naturalWidth > 100).length"
    return browser.execute_script(wide, selector)


def test_optunas_page_plays_and_shows_a_trial_with_its_note(browser, served):
    with opened(browser, served, "optuna", "/dashboard/studies/1/trials?numbers=0"):
        until(lambda: browser.find_elements(By.TAG_NAME, "audio"))
        seconds, loudest = loudness(browser, "audio")
        assert seconds > 0.02 and loudest > 0.005
        until(lambda: pictures_shown(browser) == 2)
        shown = text(browser, "body")
        assert "Nothing was repaired." in shown
        assert "settings" in shown and "learning_rate" in shown


def test_tensorboard_shows_the_alignment_of_each_trial(browser, served):
    with opened(browser, served, "tensorboard", "/#timeseries"):
        until(lambda: pictures_shown(browser) >= 2)
        shown = text(browser, "body")
        assert "small/trial-0000" in shown and "small/trial-0001" in shown
        assert "alignment" in shown


def test_mlflow_shows_the_study_as_a_run_with_a_run_for_each_trial(browser, served):
    asked = {"experiment_ids": [experiment_of(served)], "max_results": 10}
    runs = served.ask("mlflow", "/ajax-api/2.0/mlflow/runs/search", "POST", json=asked).json()["runs"]
    states = {run["info"]["run_name"]: run["info"]["status"] for run in runs}
    assert states == {"small": "FINISHED", "trial 0000": "FINISHED", "trial 0001": "FINISHED"}
    path = f"/#/experiments/{experiment_of(served)}/runs?workflowType=machine_learning"
    with opened(browser, served, "mlflow", path):
        until(lambda: "3 matching runs" in text(browser, "body"))
        assert "small" in text(browser, "body")
    run = next(run["info"]["run_id"] for run in runs if run["info"]["run_name"] == "trial 0000")
    path = f"/#/experiments/{experiment_of(served)}/runs/{run}/artifacts/sample.png"
    with opened(browser, served, "mlflow", path):
        until(lambda: pictures_shown(browser, "img[src^='blob:']"))
        assert "interventions.json" in text(browser, "body")


def experiment_of(served):
    path = "/ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=small"
    return served.ask("mlflow", path).json()["experiment"]["experiment_id"]


def test_a_report_as_one_file_plays_and_shows_without_anything_else(browser, served):
    file = served.folder / "report.html"
    assert served.run("report", "small", "-o", str(file)).returncode == 0
    browser.get("about:blank")
    faults(browser), asked_hosts(browser)
    browser.get(file.as_uri())
    until(lambda: browser.execute_script("return document.querySelector('audio').readyState") >= 1)
    assert browser.execute_script("return document.querySelector('audio').duration") > 0.02
    assert pictures_shown(browser) == 1
    assert "Best: trial" in text(browser, "body")
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    assert faults(browser) == []
    assert asked_hosts(browser) == set()
