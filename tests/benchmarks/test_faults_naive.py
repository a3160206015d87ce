"""The naive rules, threshold by threshold: they are the bar, so they must do what they are said to."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults.naive import Seen, repaired
from model.settings import LIMITS, Settings

FINE = Seen(grad_norm=1.0, diagonal=0.5, gate=0.9, variance=0.1)
S = Settings()


def changed(seen):
    new = repaired(S, seen)
    return {name: value for name, value in asdict(new).items() if value != getattr(S, name)}


@pytest.mark.parametrize(
    ("sick", "changes"),
    [
        ({}, {}),
        ({"grad_norm": 9e-9}, {"mel_l1_weight": 10.0, "mel_l2_weight": 10.0}),
        ({"diagonal": 0.29}, {"guided_attention_weight": 2.0}),
        ({"gate": 0.69}, {"gate_weight": 1.5, "learning_rate": 5e-4}),
        ({"variance": 0.51}, {"batch_size": 16}),
        ({"diagonal": 0.29, "variance": 0.51}, {"guided_attention_weight": 2.0, "batch_size": 16}),
    ],
)
def test_each_rule_does_what_its_author_wrote_and_all_act_at_once(sick, changes):
    assert changed(replace(FINE, **sick)) == changes


@given(*[st.floats(0, 2)] * 4, st.integers(1, 40))
def test_however_often_they_act_settings_stay_within_limits(norm, diagonal, gate, variance, times):
    settings = S
    for _ in range(times):
        settings = repaired(settings, Seen(norm, diagonal, gate, variance))
    assert all(low <= getattr(settings, name) <= high for name, (low, high) in LIMITS.items())
