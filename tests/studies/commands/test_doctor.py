"""What doctor says of devices and packages; there is no GPU here, but a torch that cannot use one."""

import json

import pytest
import torch

import run_study
from studies.commands import doctor

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
CLOSED = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder)"


@pytest.fixture
def said(tmp_path, capsys, monkeypatch):
    """Each check's state and detail, as the command tells them; and its exit code."""

    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "version")

    def examined():
        code = run_study.main(["--home", str(tmp_path), "doctor", "-f", "json"])
        rows = json.loads(capsys.readouterr().out)
        return {row["check"]: (row["state"], row["detail"]) for row in rows}, code

    return examined


def test_without_a_gpu_it_says_so(said):
    found, _ = said()
    state, detail = found["devices"]
    assert state == "ok"
    assert detail.endswith("no GPU: trains on the CPU")
    assert not any(check.startswith("gpu") for check in found)


def test_a_gpu_that_cannot_multiply_is_a_fault_and_why(said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # as where its driver is broken
    found, code = said()
    assert code == 3
    for check in ("gpu 0", "gpu 1"):
        state, detail = found[check]
        assert state == "FAULT"
        assert detail.startswith("cannot multiply: ") and len(detail) > len("cannot multiply: ")
    assert "no GPU" not in found["devices"][1]


@pytest.mark.parametrize(("told", "version"), [(CLOSED, "535.183.01"), (OPEN, "570.86.15")])
def test_a_driver_without_a_torch_that_uses_it_is_told(said, tmp_path, told, version):
    (tmp_path / "version").write_text(told)
    detail = said()[0]["devices"][1]
    assert f"no GPU: trains on the CPU. The NVIDIA driver {version} is there, but torch " in detail


def test_what_is_not_installed_as_a_package_is_said_without_a_trace(said, monkeypatch):
    monkeypatch.setattr(doctor, "DISTRIBUTION", "smart-tuner-that-is-not-there")
    found, code = said()
    assert code == 3
    state, detail = found["smart-tuner-that-is-not-there"]
    assert state == "FAULT"
    assert "is not installed as a package" in detail and "./install.sh setup" in detail
    assert found["database"][0] == "ok"
