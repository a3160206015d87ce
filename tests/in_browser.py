"""What tests in a real browser share."""

import time
from pathlib import Path

import pytest

DRIVER = Path("/usr/bin/chromedriver")
MARKS = [
    pytest.mark.skipif(not DRIVER.exists(), reason="no browser: apt-get install chromium chromium-driver"),
    pytest.mark.timeout(900),
]
SECONDS = 180


def until(found):
    deadline = time.monotonic() + SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return value
