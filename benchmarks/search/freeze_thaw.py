"""The program's freeze-thaw search (studies/search/freeze_thaw.py) on a simulated ledger."""

import numpy as np

from benchmarks.search.ledger import Ledger
from studies.search.freeze_thaw import STARTUP, Curve, FreezeThaw

RETUNED = 8  # its model is tuned anew at every so many choices, and not at each: that takes half a second


def freeze_thaw(ledger: Ledger, seed: int) -> None:
    cube, measures = ledger.table.cube, ledger.table.measures
    search = FreezeThaw(cube, 1 / measures, ledger.table.largest)
    chance = np.random.default_rng(seed)
    choices = 0
    while True:
        curves = [
            Curve(
                trial.point,
                tuple((at + 1) / measures for at in range(len(trial.values))),
                tuple(trial.values),
                waits=not trial.is_whole,
            )
            for trial in ledger.trials
        ]
        chosen = search.choice(curves, chance, tunes=choices % RETUNED == 0)
        if isinstance(chosen, dict):
            ledger.begin(cube.point(chosen)).go_on()
        else:
            ledger.trials[chosen].go_on()
        choices += len(curves) >= STARTUP
