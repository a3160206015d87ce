"""The page of a corpus' clips in a real browser: hear, mend, drop, and save the texts."""

import in_browser
import numpy as np
import pytest
from in_browser import until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from model.speech.audio import write_wave
from studies.report.clips_page import page
from studies.run.recordings import Row

pytestmark = in_browser.MARKS
ROWS = [
    Row("a_0001", "a.wav", 0.0, 1.0, 0.0, "One two.", "One two.", ""),
    Row("a_0002", "a.wav", 1.5, 2.5, 20.0, "Three <b>four</b>.", "Three for.", ""),
    Row("a_0003", "a.wav", 3.0, 4.0, 90.0, "Five six.", "Something else.", "90 of 100 letters are otherwise"),
    Row("", "a.wav", None, None, None, "Seven.", "", "not said, or without pauses around it"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, place in (("a_0001", "wavs"), ("a_0002", "wavs"), ("a_0003", "left_out")):
        (tmp_path / place).mkdir(exist_ok=True)
        write_wave(
            tmp_path / place / f"{name}.wav", np.sin(np.arange(22050) / 9).astype(np.float32) / 3, 22050
        )
    (tmp_path / "clips.html").write_text(page(ROWS, tmp_path, drafts=False), "utf-8")
    return tmp_path


def keys(driver, *pressed):
    for key in pressed:
        driver.switch_to.active_element.send_keys(key)


def saved(driver):
    """What the button would save: the file, as the page makes it."""
    driver.execute_script(
        "window.saved = null; const made = URL.createObjectURL;"
        "URL.createObjectURL = blob => { blob.text().then(text => window.saved = text); return made(blob); };"
    )
    driver.find_element(By.ID, "save").click()
    return until(lambda: driver.execute_script("return window.saved"))


def test_clips_are_heard_mended_dropped_and_saved_and_kept_over_a_reload(browser, folder):
    browser.get(f"file://{folder}/clips.html")
    names = [a.get_attribute("data-id") for a in browser.find_elements(By.TAG_NAME, "article")]
    assert names == ["a_0003", "a_0002", "a_0001"]  # the worst heard first
    assert "2 of 3 clips are kept" in browser.find_element(By.ID, "count").text
    assert browser.find_elements(By.TAG_NAME, "textarea")[1].get_attribute("value") == "Three <b>four</b>."
    assert [span.text for span in browser.find_elements(By.CLASS_NAME, "other")] == [
        "Something else.",
        "for.",
    ]
    keys(browser, " ")
    sound = "return [...document.querySelectorAll('audio')].map(a => a.duration || 0)"
    assert until(lambda: browser.execute_script(sound)[0] > 0.9)
    keys(browser, "a")  # the one that was left out comes back
    keys(browser, "e")
    field = browser.switch_to.active_element
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("Three for.", Keys.ESCAPE)
    keys(browser, Keys.ARROW_DOWN, "d")
    assert saved(browser) == "a_0002|Three for.\na_0003|Five six.\n"
    browser.refresh()
    assert saved(browser) == "a_0002|Three for.\na_0003|Five six.\n"
    wave = browser.find_element(By.CSS_SELECTOR, "article svg path")
    assert wave.size["width"] > 300 and wave.size["height"] > 10
    assert "Seven." in browser.find_element(By.TAG_NAME, "body").text
