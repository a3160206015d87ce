"""The check for a GPU is rehearsed on the CPU, so that none of a GPU's time is lost to it."""

import json

from click.testing import CliRunner

from benchmarks.device_check import NEEDS_GPU, main


def test_the_rehearsal(tmp_path):
    result = CliRunner().invoke(main, ["--device", "cpu", "--out", str(tmp_path), "--seconds", "1000"])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "REPORT-cpu.json").read_text())
    told = {name: found for name, found in report.items() if isinstance(found, str)}
    assert told == dict.fromkeys(("recurrences", "memory_runs_out"), NEEDS_GPU)
    assert report["repeats"] == {"again": True, "resumed": True}
    assert report["right"]["full fp32"]["gradients together"] == 0.0
