"""A slice of the speech stage: the quickstart's clips and network, and too few steps for a voice."""

from dataclasses import replace

import pytest
import torch

from benchmarks.faults import stage
from benchmarks.faults.case import all_cases
from benchmarks.faults.pairs import Pair

SLICE = replace(stage.SPEECH, planned=24, validate_every=8, measure_every=24, checkpoint_every=8)
CASES = all_cases(stage.SPEECH)


@pytest.fixture(scope="module", autouse=True)
def clips_of_its_own(tmp_path_factory):
    torch.set_num_threads(1)
    stage.spoken.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "HOME", tmp_path_factory.mktemp("runs"))
        yield
    stage.spoken.cache_clear()


def test_spoilt_clips_are_left_out_and_a_cut_network_is_told(tmp_path):
    arms = {}
    for case in ("F05", "F07"):
        (place := tmp_path / case).mkdir()
        arms[case] = Pair(SLICE, CASES[case], "development", 0, 0, place, tmp_path / "traces").arms()
    assert arms["F05"]["B0"]["state"] == "FAIL"
    mended, ended = arms["F05"]["B6"], arms["F07"]["B6"]
    assert (mended["state"], mended["consumed"]) == ("COMPLETE", SLICE.budget)
    assert [row["rule"] for row in mended["rows"]] == ["non_finite"]
    assert arms["F07"]["B0"]["state"] == "COMPLETE"
    assert (ended["state"], ended["rows"][-1]["rule"]) == ("FAIL", "integrity")
