"""A rule of a user's own: the example runs, and following docs/rules.md to the letter works."""

import json
import subprocess
import sys

import forked
from documents import ROOT, blocks

EXAMPLE = ROOT / "examples" / "own_rule"
USE = ["--use", "clipping:AlwaysClipped"]
PROGRAM = str(ROOT / "run_study.py")
CODE, TEST = blocks((ROOT / "docs" / "rules.md").read_text("utf-8"), "python")


def test_the_example_repairs_its_trials_in_its_own_words_and_a_resume_asks_for_leave(tmp_path):
    """A resume from elsewhere knows the rule from the database alone."""
    ran = forked.run(PROGRAM, ["start", str(EXAMPLE / "study.toml"), "--n-trials", "1"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    resume = ["resume", "own-rule", "--n-trials", "2"]
    refused = forked.run(PROGRAM, resume, tmp_path)
    assert refused.returncode == 2
    assert "--use clipping:AlwaysClipped" in refused.stderr
    resumed = forked.run(PROGRAM, [*resume, *USE], EXAMPLE, SMART_TUNER_HOME=str(tmp_path / "runs"))
    assert resumed.returncode == 0, resumed.stderr
    rows = json.loads(forked.run(PROGRAM, ["fixes", "own-rule", "-f", "json"], tmp_path).stdout)
    rows = [row for row in rows if row["rule"] == "always_clipped"]
    repairs = [row for row in rows if row["kind"] == "repair"]
    assert [row["trial"] for row in repairs] == [0]  # and the next one begins with what helped it
    assert "trial 1 begins with grad_clip_thresh = 2: that helped trial 0" in resumed.stderr
    assert {row["changes"] for row in repairs} == {"grad_clip_thresh 0.02 → 2"}
    assert {row["done"] for row in repairs} == {"clip far later"}
    assert all("clipped to 0.02" in row["seen"] for row in repairs)
    assert [row["kind"] for row in rows if row["trial"] == 0] == ["repair", "verdict"]


def test_the_verb_rules_lists_it_with_the_studys_threshold(tmp_path):
    shown = forked.run(PROGRAM, ["rules", str(EXAMPLE / "study.toml")], tmp_path).stdout
    page = shown[shown.index("### always_clipped") :]
    assert "`steps` 10" in page
    assert "tries: 1. clip far later" in page
    assert "idle" not in page


def test_following_the_page_to_the_letter_works(tmp_path):
    assert (EXAMPLE / "clipping.py").read_text("utf-8") == CODE
    (tmp_path / "clipping.py").write_text(CODE)
    (tmp_path / "test_clipping.py").write_text(TEST)
    [_, named] = blocks((ROOT / "docs" / "rules.md").read_text("utf-8"), "toml")
    whole = (EXAMPLE / "study.toml").read_text("utf-8")
    assert named.strip() in whole
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
