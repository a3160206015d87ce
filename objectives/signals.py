"""What Tacotron 2's runs measure and may be given, said without loading the network (no torch here)."""

from dataclasses import asdict, fields

from model.settings import LIMITS, Dimensions, Settings
from objectives.base import Parameter
from smart_tuner.repair.health import COMMON, Signal

# The front end gives the number of symbols, the mel settings the number of bands.
GIVEN = {"n_symbols", "n_mel_channels"}
# What the searched weights are measured against stays the same in every trial of a study.
NOT_SEARCHED = {"max_frames_per_step", "mel_mean", "mel_scale"}
DIMENSION_LIMITS = {
    "max_frames_per_step": LIMITS["n_frames_per_step"],
    "mel_mean": (-20.0, 20.0),
    "mel_scale": (0.01, 100.0),
}


def _dimension(name: str, default: int | float) -> Parameter:
    low, high = DIMENSION_LIMITS.get(name, (1, 8192))
    parity = {"kernel_size": "odd", "encoder_embedding_dim": "even"}
    kind = next((kind for ending, kind in parity.items() if name.endswith(ending)), None)
    return Parameter(default, low, high, False, name not in NOT_SEARCHED, kind)  # type: ignore[arg-type]


PARAMETERS = {name: Parameter(default, *LIMITS[name]) for name, default in asdict(Settings()).items()} | {
    field.name: _dimension(field.name, field.default)  # type: ignore[arg-type]
    for field in fields(Dimensions)
    if field.name not in GIVEN
}


MILESTONE = "aligned"
SIGNALS = {
    # at a validation, on held-out sentences, with the true frames before
    "aligned": Signal(),
    "diagonal_score": Signal("larger", of_weights=True, max_worse=0.1, judged=True, at_milestone=True),
    "corr": Signal("larger", of_weights=True, at_milestone=True),
    "penalty": Signal(judged=True),
    **dict.fromkeys(("coverage", "back", "leap", "dwell", "focus", "constant"), Signal()),
    "gate_accuracy": Signal("larger", max_worse=0.1, judged=True),
    "gate_late": Signal(),
    "text_gain": Signal("larger", of_run=True),
    **dict.fromkeys(("held_out_by_batch", "dead", "in_training"), Signal()),
    "held_out": COMMON["held_out"],
    "value": COMMON["value"],  # free-running
    # at every step
    "unweighted_loss": COMMON["unweighted_loss"],  # the L1 of mels
    "grad_norm": COMMON["grad_norm"],
    "guided": Signal("smaller", of_weights=True, each_step=True),  # attention off the diagonal
    **dict.fromkeys(("loss", "gate", "learning_rate", "clips"), Signal()),
    # now and then, of each part of the network
    **dict.fromkeys(("gradient/", "update/", "silent/", "unchanged/"), Signal()),
}

NOBODY = "none"  # in place of a recognizer
# Numbers of a measure that are shown beside its value; those by ear are known where somebody listened.
MEASURES = (
    *("aligned_share", "cer", "failure_share", "mos", "wer", "similarity"),
    *("diagonal_score", "gate_accuracy", "shortest", "longest"),
    *("recordings_cer", "recordings_wer", "recordings_mos", "recordings_similarity"),
)
# What a trial's value may be, with its unit and its name in English and Russian; smaller is better.
VALUES: dict[str, tuple[str, tuple[str, str]]] = {
    "distance": ("dB", ("distance, dB", "расстояние, дБ")),
    "cer": ("CER", ("letters not understood (CER)", "неразборчиво букв (CER)")),
    "mos": ("below MOS 5", ("predicted MOS, below 5", "предсказанная оценка MOS, до 5")),
    "heard": ("CER + MOS", ("CER, and a hundredth of MOS below 5", "CER и сотая доля MOS до 5")),
}
# English and Russian of measures and settings, as smart_tuner/repair/words.py knows them.
WORDS: dict[str, tuple[str, str]] = {
    "unit.value": ("dB", "дБ"),
    "measure.diagonal_score": ("diagonal score", "диагональность"),
    "measure.penalty": ("attention off the diagonal", "внимание вне диагонали"),
    "measure.guided": ("attention off the diagonal", "внимание вне диагонали"),
    "measure.gate_accuracy": ("stops in the right place", "доля верных остановок"),
    "measure.gate_late": ("late stops", "доля поздних остановок"),
    "measure.value": ("distance, dB", "расстояние, дБ"),
    "measure.aligned_share": ("aligned", "выровнено"),
    "measure.cer": ("letters not understood (CER)", "неразборчиво букв (CER)"),
    "measure.wer": ("words not understood (WER)", "неразборчиво слов (WER)"),
    "measure.mos": ("predicted MOS", "предсказанная оценка (MOS)"),
    "measure.similarity": ("speaker similarity", "сходство голоса с записями"),
    "measure.recordings_similarity": ("speaker similarity of the recordings", "сходство записей между собой"),
    "measure.recordings_cer": ("CER of the recordings", "CER записей"),
    "measure.recordings_wer": ("WER of the recordings", "WER записей"),
    "measure.recordings_mos": ("predicted MOS of the recordings", "предсказанная оценка (MOS) записей"),
    "measure.distance": ("distance, dB", "расстояние, дБ"),
    "measure.failure_share": ("failed sentences", "фраз с ошибкой"),
    "measure.shortest": ("shortest of its recorded time", "кратчайшая к записи"),
    "measure.longest": ("longest of its recorded time", "длиннейшая к записи"),
    "measure.copy_synthesis": ("copy-synthesis", "ресинтез"),
    "measure.mismatch": ("a different sentence", "чужая фраза"),
    "measure.unweighted_loss": ("mel loss", "потери по мел-спектрограмме"),
    "measure.text_gain": ("gain by the text", "польза от текста"),
    "measure.held_out_by_batch": (
        "held-out loss by the batch's own statistics",
        "потери на отложенных данных при нормировке по самому пакету",
    ),
    "measure.dead": (
        "units of a layer of the prenet that are never active",
        "доля неактивных нейронов в слое prenet",
    ),
    "measure.in_training": ("modules left in training's mode", "доля модулей в режиме обучения"),
    "measure.dwell": ("time on one symbol", "время на одном знаке"),
    "measure.focus": ("weight of that symbol", "вес этого знака"),
    "measure.corr": ("correlation with time", "корреляция со временем"),
    "setting.learning_rate": ("learning rate", "скорость обучения"),
    "setting.warmup_steps": ("warm-up steps", "шагов разогрева"),
    "setting.decay_start_step": ("start of the decay", "начало затухания"),
    "setting.decay_half_life": ("half-life of the decay", "период полураспада скорости обучения"),
    "setting.adam_beta2": ("Adam's beta2", "beta2 в Adam"),
    "setting.adam_eps": ("Adam's epsilon", "epsilon в Adam"),
    "setting.weight_decay": ("weight decay", "затухание весов"),
    "setting.grad_clip_thresh": ("gradient clip", "предел градиента"),
    "setting.batch_size": ("batch size", "размер пакета"),
    "setting.micro_batches": ("parts of a batch", "частей пакета"),
    "setting.n_frames_per_step": ("frames a step", "кадров на шаг"),
    "setting.mel_l1_weight": ("weight of the L1 loss", "вес потерь L1"),
    "setting.mel_l2_weight": ("weight of the L2 loss", "вес потерь L2"),
    "setting.gate_weight": ("weight of the gate", "вес остановки"),
    "setting.gate_positive_weight": ("weight of sentence ends", "вес концов фраз"),
    "setting.guided_attention_weight": ("guided attention weight", "вес guided attention"),
    "setting.guided_attention_sigma": ("guided attention sigma", "сигма guided attention"),
    "setting.p_frame_dropout": ("frame dropout", "дропаут кадров"),
    "setting.p_encoder_dropout": ("encoder dropout", "дропаут кодировщика"),
    "setting.p_prenet_dropout": ("prenet dropout", "дропаут prenet"),
    "setting.p_attention_dropout": ("attention dropout", "дропаут внимания"),
    "setting.p_decoder_dropout": ("decoder dropout", "дропаут декодера"),
    "setting.p_postnet_dropout": ("postnet dropout", "дропаут postnet"),
}
