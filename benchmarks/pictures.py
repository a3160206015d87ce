"""Makes the pages' pictures of the home page: a real study, the real page, a real browser.

Needs Debian's chromium and chromium-driver. Without --home, the study is run first: STUDY on a corpus that
espeak-ng speaks, in some minutes.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import httpx
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from dashboards import state

ROOT = Path(__file__).parent.parent
DRIVER = "/usr/bin/chromedriver"
FLAGS = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-sync"),
    *("disable-component-update", "no-first-run", "hide-scrollbars", "lang=en"),
)
SECONDS = 240


@contextlib.contextmanager
def served(workdir: Path, port: int) -> Iterator[str]:
    """The address of the home page, with its key."""
    program = [sys.executable, str(ROOT / "run_study.py"), "--home", str(workdir), "pages"]
    with subprocess.Popen([*program, "--only", "home", "--port", f"home={port}"], cwd=ROOT) as process:
        try:
            until(lambda: _entrance(workdir))
            yield _entrance(workdir)
        finally:
            process.terminate()


def _entrance(workdir: Path) -> str:
    """The address with its key, once it leads somewhere; or nothing."""
    found = state.running(workdir)
    url = found.addresses["home"] if found else ""
    try:
        return url if url and httpx.get(url, timeout=10, trust_env=False).status_code == 303 else ""
    except httpx.HTTPError:
        return ""


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not found():
        if time.monotonic() > deadline:
            raise click.ClickException("the page did not come so far")
        time.sleep(0.3)


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(SECONDS)
    try:
        yield driver
    finally:
        driver.quit()


def taken(driver: webdriver.Chrome, url: str, width: int, russian: bool, path: Path) -> None:
    """The page with a sentence spoken, in light or (Russian) in dark."""
    driver.set_window_size(width, 1000)
    driver.get(url)
    theme, words = ("dark", "ru") if russian else ("light", "en")
    stored = f"localStorage.setItem('theme', '{theme}'); localStorage.setItem('language', '{words}')"
    driver.execute_script(stored)
    driver.refresh()
    until(lambda: driver.find_elements(By.CSS_SELECTOR, "#trial audio, #trial img"))
    until(lambda: driver.find_element(By.ID, "speak").is_enabled())
    driver.find_element(By.ID, "speak").click()
    until(lambda: driver.find_elements(By.CSS_SELECTOR, "#voices canvas"))
    time.sleep(2)
    driver.set_window_size(width, 1700)
    driver.execute_script("window.scrollTo(0, 0)")
    time.sleep(1)
    driver.save_screenshot(str(path))
    click.echo(path)


@click.command(help=__doc__)
@click.option("--study", default="quickstart", show_default=True)
@click.option("--home", "workdir", type=click.Path(path_type=Path), help="One that holds a study already.")
@click.option("--port", default=5094, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=ROOT / "docs", show_default="docs")
def main(study: str, workdir: Path | None, port: int, output: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if workdir is None:
            workdir = Path(folder)
            command = [sys.executable, str(ROOT / "run_study.py"), "--home", folder, "start", study]
            subprocess.run(command, cwd=ROOT, check=True)
        with served(workdir.resolve(), port) as url, browser() as driver:
            taken(driver, url, 1240, False, output / "home.png")
            taken(driver, url, 500, True, output / "home-phone.png")


if __name__ == "__main__":
    main()
