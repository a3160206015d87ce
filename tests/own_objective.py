"""A study of an objective that is no voice, as its attributes describe it."""

import optuna

from studies.file.spec import load
from studies.run.study import open_study

OBJECTIVE = {"unit": "", "curves": ["loss"], "measures": ["accuracy", "error_share", "missing"]}
WORDS = {"measure.accuracy": ["accuracy", "точность"], "measure.loss": ["loss", "потери"]}


def own_study(storage, objective=OBJECTIVE, words=WORDS):
    """Two trials that were trained here, and one that was not; none says how many seconds it took."""
    spec = load("quickstart")
    voiceless = spec.objective.model_copy(update={"speak": None})
    study = open_study(spec, storage)
    study.set_user_attr("objective", objective)
    study.set_user_attr("words", words)
    for value in (0.0375, 0.0125):
        trial = study.ask({"width": optuna.distributions.IntDistribution(1, 64)})
        row = {"step": 100, "value": value, "accuracy": 0.987, "error_share": 0.25}
        trial.set_user_attr("measures", [{**row, "step": 50, "value": 2.0}, row])
        trial.report(2.0, 50)
        trial.report(value, 100)
        study.tell(trial, value)
    study.add_trial(optuna.trial.create_trial(value=0.001))
    study = optuna.load_study(study_name=study.study_name, storage=storage)
    return study, spec.model_copy(update={"objective": voiceless, "question": "Which width?", "space": {}})
