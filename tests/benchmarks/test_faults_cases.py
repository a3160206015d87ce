"""Cases are data: every one names what exists, and spoils what it says."""

import numpy as np
import pytest
import torch

from benchmarks.faults.case import FOLDER, HALVES, all_cases, read, spoilt
from benchmarks.faults.jobs import seeds_of
from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import SPEECH, TINY, prepare
from model.settings import LIMITS
from smart_tuner.repair.rules import RULES

CASES = all_cases()
SPOKEN = all_cases(SPEECH)
EXPRESSED = [case for case in CASES.values() if not case.missing]
BASE = CASES["H01"].sound(TINY)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    prepare()


def test_there_are_all_faults_and_recipes():
    assert [*CASES] == [f"F{i:02d}" for i in range(1, 29)] + [f"H{i:02d}" for i in range(1, 14)]
    on_speech = [f"F{i:02d}" for i in range(1, 95)] + [f"H{i:02d}" for i in range(1, 14)]
    assert sorted(SPOKEN) == on_speech


def test_a_kind_that_came_after_the_rules_stays_held_out_once_it_is_mended():
    for name, half in (("F45", "development"), ("F46", "held_out"), ("F53", "held_out"), ("F77", "held_out")):
        assert [h for h in HALVES if seeds_of(SPOKEN[name], h, SPEECH)] == [half]


@pytest.mark.parametrize("case", [c for c in EXPRESSED if c.is_fault], ids=lambda c: c.name)
def test_a_fault_has_other_severities_held_out_than_developed_on(case):
    assert all(case.severities[half] for half in HALVES)
    assert not [s for s in case.severities["held_out"] if s in case.severities["development"]]
    assert case.rules and case.deadline
    assert case.onset + case.deadline <= TINY.budget


@pytest.mark.parametrize("case", EXPRESSED, ids=lambda c: c.name)
def test_a_case_begins_with_a_run_that_may_be_made(case):
    for half in HALVES:
        for severity in range(len(case.severities[half])):
            assert isinstance(case.setup(TINY, half, severity), Setup)


@pytest.mark.parametrize("case", [c for c in EXPRESSED if c.is_fault], ids=lambda c: c.name)
@pytest.mark.parametrize("rate", [5e-4, 2e-2])
def test_a_trial_of_a_study_may_be_spoilt_whatever_was_drawn(case, rate):
    for severity in range(len(case.severities["held_out"])):
        setup = case.spoil(BASE.with_settings(learning_rate=rate), "held_out", severity)
        assert setup.settings.learning_rate <= LIMITS["learning_rate"][1]


@pytest.mark.parametrize("line", ["rules = ['no_such']", "development = [{ no_such = 1 }]"])
def test_an_unknown_name_is_refused(tmp_path, line):
    (tmp_path / "F99.toml").write_text(f"what = 'x'\n{line}\n")
    with pytest.raises(ValueError, match="no_such"):
        read(tmp_path / "F99.toml")


def test_a_rule_that_is_named_by_no_fault_is_known():
    """Which rules the benchmark says nothing about."""
    named = {rule for case in SPOKEN.values() for rule in case.rules}
    assert {rule.name for rule in RULES} - named == set()


def test_files_hold_nothing_else():
    assert {path.suffix for path in FOLDER.rglob("*") if path.is_file()} == {".toml"}


@pytest.mark.parametrize("seed", range(20))
def test_a_drawn_run_has_settings_of_the_whole_space_and_always_the_same(seed):
    first, again = (CASES["H13"].setup(TINY, "held_out", 0, seed).settings for _ in range(2))
    assert first == again
    assert 5e-4 <= first.learning_rate <= 2e-2
    assert first.batch_size in (6, 12, 24)
    assert first != CASES["H13"].setup(TINY, "held_out", 0, seed + 100).settings


OWN = {
    "edge_silence": 3, "texts_off_by_one": 0.5, "quiet_clips": 0.34, "hum": -1.0, "cut_clips": 0.34,
    "two_voices": 4, "weights_times": 3.0, "dead_prenet": 0.95, "by_length": 0.5,
    "forgetting_optimizer": 2, "still_statistics": 0.0, "mel_scale": 100.0, "spoken_in_training_mode": 1,
}  # fmt: skip


@pytest.mark.parametrize(("patch", "strength"), OWN.items())
def test_what_people_report_spoils_training_alone_and_it_can_be_trained(patch, strength):
    setup = spoilt(BASE, patch, strength)
    assert [item.mel.tobytes() for item in setup.corpus.held_out] == [
        item.mel.tobytes() for item in BASE.corpus.held_out
    ]
    spoilt_run, sound = setup.training(1), BASE.training(1)
    for _ in range(4):
        lost = spoilt_run.advance().loss, sound.advance().loss
    assert np.isfinite(lost).all()
    validated = spoilt_run.validate(setup.corpus.held_out), sound.validate(BASE.corpus.held_out)
    changed = lost[0] != lost[1] or validated[0].mel_l1 != validated[1].mel_l1
    assert changed


def test_settings_and_rates():
    assert spoilt(BASE, "rate_times", 2.0).settings.learning_rate == 2 * BASE.settings.learning_rate
    assert spoilt(BASE, "batch_size", 5).settings.batch_size == 5


def test_faulty_clips_are_in_training_alone():
    broken = spoilt(BASE, "infinite_clips", 2)
    assert sum(not np.isfinite(item.mel).all() for item in broken.corpus.training) == 2
    assert all(np.isfinite(item.mel).all() for item in broken.corpus.held_out)
    assert all(np.isfinite(item.mel).all() for item in BASE.corpus.training)


def test_shuffled_texts_are_as_many_as_said():
    shuffled = spoilt(BASE, "shuffled_texts", 0.5).corpus.training
    changed = [a.symbols is not b.symbols for a, b in zip(shuffled, BASE.corpus.training, strict=True)]
    assert sum(changed) == len(changed) // 2


def groups(training):
    return {name: [p.detach().clone() for p in group] for name, group in training.model.groups().items()}


def changed(before, after):
    return {
        name
        for name in before
        if any(not torch.equal(a, b) for a, b in zip(before[name], after[name], strict=True))
    }


@pytest.mark.parametrize(
    ("patch", "strength", "still"),
    [
        ("unupdated", 0, "all"),
        ("unupdated", 1, {"decoder"}),
        ("detached", 0, {"embedding", "encoder_convolutions", "encoder_lstm"}),
        ("detached", 1, {"embedding"}),
    ],
)
def test_what_a_cut_leaves_unchanged(patch, strength, still):
    training = spoilt(BASE.with_settings(weight_decay=0.0), patch, strength).training(1)
    before = groups(training)
    training.advance()
    assert set(before) - changed(before, groups(training)) == (set(before) if still == "all" else still)


def struck(patch, strength):
    setup = spoilt(BASE, patch, strength)
    training = setup.training(1)
    before = groups(training)
    for strike in setup.strikes[:1]:
        strike.hit(training)
    return training, before


def test_a_strike_at_the_attention_changes_the_attention_alone():
    training, before = struck("randomised_attention", 1.0)
    assert changed(before, groups(training)) == {"attention"}


def test_only_one_batch_is_loud():
    training, _ = struck("loud_batch", 1000.0)
    loud = max(abs(item.mel).max() for item in training._items())
    training.step += 1
    assert loud > 100 * max(abs(item.mel).max() for item in training._items())


def test_wrong_betas_are_overwritten_at_the_next_step():
    """Why F26 cannot hurt here: settings own what an optimizer's file brings."""
    training, _ = struck("wrong_betas", 0.5)
    assert training._optimizer.param_groups[0]["betas"] == (0.5, 0.5)
    training.advance()
    assert training._optimizer.param_groups[0]["betas"] == (0.9, training.settings.adam_beta2)


def test_a_stuck_attention_rests_on_the_last_symbol():
    training = spoilt(BASE, "stuck_on_last", 40).training(1)
    assert training.validate(BASE.corpus.held_out).alignments[0].diagonal_score == 0.0
    assert training.step == 0


def test_a_warm_start_is_aligned_before_its_first_step():
    training = spoilt(BASE, "warm_start", 60).training(1)
    assert training.validate(BASE.corpus.held_out).diagonal_score > 0.4


def test_guidance_ends_in_training_only():
    training, _ = struck("guidance_ends", 1)
    assert np.isfinite(training.advance().guided)


def test_a_network_is_built_for_its_frames_and_channels():
    for patch, strength in (("frames_a_step", 16), ("narrow_encoder", 2)):
        assert np.isfinite(spoilt(BASE, patch, strength).training(1).advance().loss)
    assert spoilt(BASE, "frames_a_step", 16).settings.n_frames_per_step == 16
    assert spoilt(BASE, "narrow_encoder", 2).training(1).model.encoder.lstm.hidden_size == 1


def test_gates_of_another_order_come_back_when_they_are_turned_again():
    training, before = struck("foreign_gates", 1)
    assert changed(before, groups(training)) == {"encoder_lstm", "attention", "decoder"}
    spoilt(BASE, "foreign_gates", 1).strikes[0].hit(training)
    assert not changed(before, groups(training))


def test_statistics_that_overflowed_spoil_what_is_spoken_alone():
    training, before = struck("overflown_statistics", 1e30)
    assert not changed(before, groups(training))
    sound = BASE.training(1)
    assert training.validate(BASE.corpus.held_out).mel_l1 != sound.validate(BASE.corpus.held_out).mel_l1
    assert training.advance().loss == sound.advance().loss


def test_processes_are_averaged_in_every_part():
    training, before = struck("averaged_processes", 0.5)
    assert changed(before, groups(training)) == set(before)


def test_waves_that_are_not_divided_are_louder_from_then_on():
    training, _ = struck("undivided_waves", 32768)
    for heard, sound in zip(training._items(), BASE.training(1)._items(), strict=True):
        np.testing.assert_allclose(heard.mel, sound.mel + 15 * np.log(2), atol=1e-5)


def test_weights_that_begin_alike_are_one_number():
    training = spoilt(BASE, "alike_weights", 0.01).training(1)
    weights = torch.cat([p.detach().flatten() for p in training.model.parameters() if p.ndim > 1])
    assert set(weights.tolist()) == {float(np.float32(0.01))}


def test_a_reversed_guide_pushes_the_other_way():
    only_guided = BASE.with_settings(mel_l1_weight=0.0, mel_l2_weight=0.0, gate_weight=0.0)
    sound, turned = (s.training(1) for s in (only_guided, spoilt(only_guided, "reversed_guide", 1)))
    found = [training._gradients(training._items())[0].guided for training in (sound, turned)]
    torch.testing.assert_close(*found)
    for pulled, pushed in zip(*(t.model.groups()["attention"] for t in (sound, turned)), strict=True):
        torch.testing.assert_close(pulled.grad, -pushed.grad)


def test_a_short_mask_hides_later_frames_from_the_loss():
    losses = [spoilt(BASE, "short_mask", frames).training(1).advance() for frames in (0, 10, 1000)]
    assert [measures.mel_l1 > 0 for measures in losses] == [False, True, True]
    assert losses[1].mel_l1 < losses[2].mel_l1 == BASE.training(1).advance().mel_l1


def test_an_echo_makes_nothing_quieter():
    echoing = spoilt(BASE, "reverberant_clips", 0.05).corpus.training
    for item, sound in zip(echoing[::2], BASE.corpus.training[::2], strict=True):
        assert (item.mel >= sound.mel).all()
        assert np.diff(item.mel, axis=0).min() > -0.0501


def test_what_is_cut_late_ends_with_the_next_clip():
    late, sound = spoilt(BASE, "late_cuts", 5).corpus.training, BASE.corpus.training
    assert [len(item.mel) for item in late] == [len(item.mel) for item in sound]
    assert np.array_equal(late[0].mel[:-5], sound[0].mel[5:])
    assert np.array_equal(late[0].mel[-5:], sound[1].mel[:5])


def test_another_code_page_exchanges_letters_and_nothing_else():
    other, sound = spoilt(BASE, "other_code_page", 0.5).corpus.training, BASE.corpus.training
    assert all(np.array_equal(a.symbols, b.symbols) for a, b in zip(other[1::2], sound[1::2], strict=True))
    spoken = BASE.corpus.front_end.spoken()
    for a, b in zip(other[::2], sound[::2], strict=True):
        assert all((x != y) == (y in spoken) for x, y in zip(a.symbols, b.symbols, strict=True))
        assert a.symbols[-1] == b.symbols[-1]


def test_a_title_comes_before_every_text():
    titled = spoilt(BASE, "unsaid_title", 3).corpus.training
    for item, sound in zip(titled, BASE.corpus.training, strict=True):
        assert item.symbols.tolist() == [*titled[0].symbols[:3], *sound.symbols]
