"""All that is said to a chat, in English and Russian; messages.py beside it puts it together.

Names in braces are filled in. Amounts follow their noun ("trials: 3"), so that none needs a plural.
"""

import re

LANGUAGES = ("en", "ru")
PHRASES: dict[str, tuple[str, str]] = {
    # a study
    "study_start": ("The study has started. Trials: {budget}.", "Поиск начат. Испытаний: {budget}."),
    "study_goes_on": (
        "The study goes on. Trials begun: {done} of {budget}.",
        "Поиск продолжается. Начато испытаний: {done} из {budget}.",
    ),
    "searched": ("Searched: {names}.", "Подбираются: {names}."),
    "study_end": (
        "The study has finished. Trials: {done} of {budget}.",
        "Поиск завершён. Испытаний: {done} из {budget}.",
    ),
    "study_stop": (
        "The study has stopped ({why}). Trials begun: {done} of {budget}.",
        "Поиск остановлен ({why}). Начато испытаний: {done} из {budget}.",
    ),
    "why_stop": ("asked to stop", "по просьбе"),
    "why_pause": ("paused", "пауза"),
    "why_signal": ("a signal came", "по сигналу"),
    "why_failures": ("too many trials failed in a row", "слишком много неудач подряд"),
    "why_lost": ("the database stayed away", "база данных недоступна"),
    "why_fault": ("a fault of the program or the machine", "сбой программы или машины"),
    "study_gone": (
        "The study was deleted or renamed while it ran; its workers have stopped. Its files are kept.",
        "Поиск удалили или переименовали во время работы; исполнители остановились. Файлы сохранены.",
    ),
    "go_on": ("Go on with: {command}", "Продолжить: {command}"),
    "states": (
        "Completed {complete}, pruned {pruned}, failed {fail}, repaired {repaired}; {hours} h of training.",
        "Завершено {complete}, отсечено {pruned}, сбоев {fail}, исправлялось {repaired}; {hours} ч обучения.",
    ),
    "best_line": (
        "Best: {value} dB (trial {number}, fixes: {repairs}).",
        "Лучшее: {value} дБ (испытание {number}, исправлений: {repairs}).",
    ),
    "unassisted_line": (
        "Without repairs: {value} dB (trial {number}).",
        "Без вмешательств: {value} дБ (испытание {number}).",
    ),
    "fresh_line": (
        "Begun anew with repaired values: {value} dB (trial {number}).",
        "Заново с исправленными значениями: {value} дБ (испытание {number}).",
    ),
    "without_voice": (
        "Trial {number} ({value} dB) has no voice: it was not trained here.",
        "У испытания {number} ({value} дБ) нет голоса: оно обучалось не здесь.",
    ),
    "no_speech": (
        "No speech yet: that is hardly nearer than a different sentence.",
        "Ещё не речь: чужая фраза почти так же близка.",
    ),
    "no_best": ("No trial has completed yet.", "Пока ни одно испытание не завершено."),
    "copy_synthesis": (
        "Copy-synthesis, the best there can be: {copy_synthesis} dB.",
        "Ресинтез записи, лучшее из возможного: {copy_synthesis} дБ.",
    ),
    # a trial
    "best": ("New best: {value} dB{was}, step {step}.", "Новое лучшее: {value} дБ{was}, шаг {step}."),
    "best_was": (" (was {was})", " (было {was})"),
    "best_fixes": ("Fixes: {repairs}.", "Исправлений: {repairs}."),
    "listen": ("Listen:", "Послушайте:"),
    "trial": ("trial {number}", "испытание {number}"),
    "step": ("step {step}", "шаг {step}"),
    "fix": ("Repair: {what}.", "Исправление: {what}."),
    "critical": ("Trouble: {what}.", "Сбой обучения: {what}."),
    "warning": ("Warning: {what}.", "Предупреждение: {what}."),
    "gave_up": ("Given up: {what}.", "Исправить не удалось: {what}."),
    "by_rule": ("Rule {rule}, priority {priority} of 10.", "Правило {rule}, приоритет {priority} из 10."),
    "why": ("Why: {why}", "Почему: {why}"),
    "done": ("Action: {done}", "Действие: {done}"),
    "back_to": ("weights of step {step}", "веса шага {step}"),
    "warms_up": ("the learning rate warms up over {ramp} steps", "разогрев скорости обучения, шагов: {ramp}"),
    "clips_out": ("clips left out: {clips}", "исключены записи: {clips}"),
    "verify_at": ("Verdict at step {step}.", "Итог на шаге {step}."),
    "nth": ("Remedy {nth} of this rule.", "Средство этого правила: {nth}-е."),
    "improved": ("It helped", "Помогло"),
    "no effect": ("No gain", "Пользы нет"),
    "harm": ("It did harm", "Стало хуже"),
    "verdict": ("{verdict}: {compared}.", "{verdict}: {compared}."),
    "verdict_alone": ("{verdict}.", "{verdict}."),
    "kept": ("Kept.", "Оставлено."),
    "undone": ("Undone: {changes}.", "Отменено: {changes}."),
    "gone_back": (
        "Undone: back to the weights of step {step}.",
        "Отменено: возврат к весам шага {step}.",
    ),
    "of_repair": ("The repair of step {step}, {what}.", "Исправление на шаге {step}: {what}."),
    "trial_bad_PRUNED": ("Pruned: {reason}.", "Отсечено: {reason}."),
    "trial_bad_FAIL": ("Failed: {reason}.", "Сбой: {reason}."),
    "last_value": (
        "Last measure {value} dB; median of the others {median} dB.",
        "Последняя оценка {value} дБ; медиана остальных {median} дБ.",
    ),
    "held": (
        "Before this, of the same kind and not told: {count}.",
        "Ранее таких же сообщений, не показанных: {count}.",
    ),
    # advice
    "advice": ("What you could try", "Что можно попробовать"),
    "advice_ended": (
        "Ended by the rule “{rule}”: {ended} of {finished} trials. The last one: {reason}",
        "Правило «{rule}» прекратило {ended} из {finished} испытаний. Последнее: {reason}",
    ),
    "advice_tried": (
        "Its repairs in this study: helped {improved}, no gain {no_effect}, harm {harm}.",
        "Его исправления в этом поиске: помогло {improved}, без пользы {no_effect}, во вред {harm}.",
    ),
    "advice_above": (
        "All {bad} of them began with {name} from {bad_bound} up, all {good} completed ones with at most "
        "{good_bound}. Narrow {key} to at most {good_bound}.",
        "Все такие ({bad}) начаты со значением «{name}» от {bad_bound}, все завершённые ({good}) — не выше "
        "{good_bound}. Сузьте {key}: не выше {good_bound}.",
    ),
    "advice_below": (
        "All {bad} of them began with {name} of at most {bad_bound}, all {good} completed ones with "
        "{good_bound} or more. Narrow {key} to at least {good_bound}.",
        "Все такие ({bad}) начаты со значением «{name}» не выше {bad_bound}, все завершённые ({good}) — от "
        "{good_bound}. Сузьте {key}: не ниже {good_bound}.",
    ),
    "advice_clips": ("Listen to these clips: {clips}.", "Прослушайте эти записи: {clips}."),
    "advice_skipped": (
        "The check of the corpus left out: {skipped}.",
        "Проверка корпуса исключила: {skipped}.",
    ),
    "advice_changes": (
        "What helped other trials: {changes}. Start with these values.",
        "Другим испытаниям помогло: {changes}. Начните с этих значений.",
    ),
    "advice_batch": (
        "A batch of {batch} in parts: {parts} did not fit. Take a smaller batch or a smaller network.",
        "Пакет из {batch} записей (частей: {parts}) не помещается в память. Возьмите меньший пакет "
        "или меньшую сеть.",
    ),
    "advice_nothing": (
        "Nothing was changed. Look at it with: {command}",
        "Ничего не изменено. Подробнее: {command}",
    ),
    # digest and replies
    "digest": (
        "Trials: {done} of {budget}, running: {running}. Fixes: {fixes} (helped {improved}, undone {undone}, "
        "pending {pending}).",
        "Испытаний: {done} из {budget}, идёт: {running}. Исправлений: {fixes} (помогло {improved}, отменено "
        "{undone}, ждут итога {pending}).",
    ),
    "running": ("Running: trial {number}, {where}.", "Идёт: испытание {number}, {where}."),
    "at_step": ("step {step} of {target}", "шаг {step} из {target}"),
    "not_begun": ("not measured yet", "ещё не оценено"),
    "unheld": ("Waiting for a worker: trial {number}.", "Ждёт исполнителя: испытание {number}."),
    "wish_run": ("Workers may run.", "Работа разрешена."),
    "wish_pause": (
        "Paused: running trials end, no others start.",
        "Пауза: начатое доделывается, новое не начинается.",
    ),
    "wish_stop": (
        "Stopped: workers save and end.",
        "Остановлено: состояние сохраняется, работа прекращается.",
    ),
    "no_study": ("There is no study yet.", "Пока нет ни одного поиска."),
    "no_trials": ("There are no trials yet.", "Пока нет испытаний."),
    "no_fixes": ("Nothing was repaired.", "Ничего не исправлялось."),
    "decibels": ("{value} dB", "{value} дБ"),
    "trial_row": ("{number}: {state} {value}", "{number}: {state} {value}"),
    "COMPLETE": ("completed", "завершено"),
    "PRUNED": ("pruned", "отсечено"),
    "FAIL": ("failed", "сбой"),
    "RUNNING": ("running", "идёт"),
    "WAITING": ("waiting", "в очереди"),
    "earlier": ("Earlier ones: {count}.", "Более ранних: {count}."),
    "ask_pause": (
        "Pause {study}? Running trials go on to their end, no others start.",
        "Поставить {study} на паузу? Начатые испытания дойдут до конца, новые не начнутся.",
    ),
    "ask_stop": (
        "Stop {study}? Its workers save their trials and end.",
        "Остановить {study}? Состояние испытаний сохранится, работа прекратится.",
    ),
    "ask_resume": (
        "Let {study} go on? Workers that still run take up its trials.",
        "Продолжить {study}? Работающие исполнители возьмутся за его испытания.",
    ),
    "yes": ("Yes", "Да"),
    "no": ("No", "Нет"),
    "did_pause": ("{study} is paused.", "{study}: пауза."),
    "did_stop": ("{study} stops.", "{study} останавливается."),
    "did_resume": (
        "{study} may go on. Where no worker runs any more: {command}",
        "{study} можно продолжать. Если никто уже не работает: {command}",
    ),
    "left_alone": ("Nothing was changed.", "Ничего не изменено."),
    "say_what": ("Write what to say: /say TEXT", "Напишите, что сказать: /say ТЕКСТ"),
    "say_long": ("At most {limit} characters, please.", "Не больше {limit} знаков, пожалуйста."),
    "say_limit": (
        "The voice did not find its end and was cut.",
        "Голос не нашёл конца фразы и был оборван.",
    ),
    "say_busy": (
        "Several texts wait already; try again soon.",
        "Уже ждут несколько текстов; повторите чуть позже.",
    ),
    "say_lost": (
        "It took too long, or the voice failed. Try again.",
        "Не получилось: слишком долго или сбой. Повторите.",
    ),
    "say_too_long_spoken": (
        "With its numbers as words it is too long to be spoken.",
        "С числами, записанными словами, текст слишком длинный.",
    ),
    "say_unspeakable": ("There is nothing in it to be spoken.", "В этом тексте нечего произнести."),
    "say_unknown": (
        "The voice never learned these characters: {characters}",
        "Голос не знает этих знаков: {characters}",
    ),
    "say_no_voice": ("There is no voice to speak with: {why}", "Говорить пока нечем: {why}"),
    "said": ("Trial {number}, {seconds} s.", "Испытание {number}, {seconds} с."),
    "say_words": ("Numbers are spoken by rule: {words}", "Числа читаются по правилу: {words}"),
    "help": (
        "/status  how far the study is\n/best  the best voice, to listen to\n/trials  the newest trials\n"
        "/fixes  what was repaired\n/say TEXT  the best voice says it\n"
        "/pause /resume /stop  after you confirm",
        "/status  как идёт поиск\n/best  лучший голос, послушать\n/trials  последние испытания\n"
        "/fixes  что исправлялось\n/say ТЕКСТ  лучший голос произнесёт\n"
        "/pause /resume /stop  после подтверждения",
    ),
    "test": (
        "Smart Tuner can write to this chat. Studies tell it what matters.",
        "Smart Tuner может писать в этот чат. Поиски сообщат сюда о важном.",
    ),
}
RULES: dict[str, tuple[str, str]] = {
    "faulty_clips": ("clips that do not fit their texts", "записи, не подходящие к своему тексту"),
    "integrity": ("weights that cannot learn", "веса, которые не обучаются"),
    "non_finite": ("NaN or infinity", "NaN или бесконечность"),
    "out_of_memory": ("out of memory", "не хватает памяти"),
    "narrow_batch": ("batches of too few clips", "в пакете слишком мало записей"),
    "exploding_gradient": ("exploding gradients", "взрыв градиентов"),
    "divergence": ("diverging loss", "потери расходятся"),
    "oversized_steps": ("steps far too large", "слишком большие шаги"),
    "overgrown_steps": ("steps have grown far too large", "шаги стали слишком большими"),
    "stunted_part": ("a part begins far too small", "часть сети начинает со слишком малых весов"),
    "vanishing_gradients": ("vanishing gradients", "затухание градиентов"),
    "dead_module": ("weights that hardly move", "веса почти не меняются"),
    "text_ignored": ("the text is ignored", "текст не учитывается"),
    "collapse": ("attention was lost", "внимание потеряно"),
    "poor_alignment": ("attention does not align", "внимание не выравнивается"),
    "stuck_attention": ("attention is stuck", "внимание застряло"),
    "overbearing_guide": ("the guide outweighs the speech", "направляющая важнее самой речи"),
    "overbearing_gate": ("the gate outweighs the speech", "остановка важнее самой речи"),
    "gate_never": ("speech does not stop", "речь не останавливается"),
    "gate_soon": ("speech stops early", "речь обрывается рано"),
    "unstable_loss": ("unstable loss", "потери скачут"),
    "plateau": ("no progress", "нет прогресса"),
    "overfit": ("overfitting", "переобучение"),
}
MEASURES: dict[str, tuple[str, str]] = {
    "diagonal_score": ("diagonal score", "диагональность"),
    "penalty": ("attention off the diagonal", "внимание вне диагонали"),
    "guided": ("attention off the diagonal", "внимание вне диагонали"),
    "best_guided": ("at best", "лучшее значение"),
    "gate_accuracy": ("stops in the right place", "доля верных остановок"),
    "gate_late": ("late stops", "доля поздних остановок"),
    "held_out": ("held-out loss", "потери на отложенных данных"),
    "best_held_out": ("at best", "лучшее значение"),
    "value": ("distance, dB", "расстояние, дБ"),
    "unweighted_loss": ("mel loss", "потери по мел-спектрограмме"),
    "best_unweighted_loss": ("at best", "лучшее значение"),
    "usual": ("usually", "обычно"),
    "grad_norm": ("gradient norm", "норма градиента"),
    "calm": ("in calm times", "в спокойное время"),
    "loss_spread": ("spread of the loss", "разброс потерь"),
    "update": ("change of weights a step (log10)", "изменение весов за шаг (log10)"),
    "gradient": ("gradient", "градиент"),
    "silent": ("tensors without a gradient", "тензоров без градиента"),
    "unchanged": ("tensors that do not change", "тензоров без изменений"),
    "text_gain": ("gain by the text", "польза от текста"),
    "encoder": ("gradient of the encoder", "градиент кодировщика"),
    "decoder": ("gradient of the decoder", "градиент декодера"),
    "dwell": ("time on one symbol", "время на одном знаке"),
    "focus": ("weight of that symbol", "вес этого знака"),
    "corr": ("correlation with time", "корреляция со временем"),
    "best_diagonal_score": ("at best", "лучшее значение"),
    "best_corr": ("at best", "лучшее значение"),
    "clips": ("clips", "записей"),
    "times": ("times the usual loss", "во сколько раз больше обычных потерь"),
    "away": ("attention away from the text", "внимание мимо текста"),
    "events": ("events", "событий"),
    "batch_size": ("clips a batch", "записей в пакете"),
    "share": ("share of the guide in the loss", "доля направляющей в потерях"),
    "gain": ("gain a validation", "улучшение за проверку"),
}
SETTINGS: dict[str, tuple[str, str]] = {
    "learning_rate": ("learning rate", "скорость обучения"),
    "warmup_steps": ("warm-up steps", "шагов разогрева"),
    "decay_start_step": ("start of the decay", "начало затухания"),
    "decay_half_life": ("half-life of the decay", "период полураспада скорости обучения"),
    "adam_beta2": ("Adam's beta2", "beta2 в Adam"),
    "adam_eps": ("Adam's epsilon", "epsilon в Adam"),
    "weight_decay": ("weight decay", "затухание весов"),
    "grad_clip_thresh": ("gradient clip", "предел градиента"),
    "batch_size": ("batch size", "размер пакета"),
    "micro_batches": ("parts of a batch", "частей пакета"),
    "n_frames_per_step": ("frames a step", "кадров на шаг"),
    "mel_l1_weight": ("weight of the L1 loss", "вес потерь L1"),
    "mel_l2_weight": ("weight of the L2 loss", "вес потерь L2"),
    "gate_weight": ("weight of the gate", "вес остановки"),
    "gate_positive_weight": ("weight of sentence ends", "вес концов фраз"),
    "guided_attention_weight": ("guided attention weight", "вес guided attention"),
    "guided_attention_sigma": ("guided attention sigma", "сигма guided attention"),
    "p_frame_dropout": ("frame dropout", "дропаут кадров"),
    "p_encoder_dropout": ("encoder dropout", "дропаут кодировщика"),
    "p_prenet_dropout": ("prenet dropout", "дропаут prenet"),
    "p_attention_dropout": ("attention dropout", "дропаут внимания"),
    "p_decoder_dropout": ("decoder dropout", "дропаут декодера"),
    "p_postnet_dropout": ("postnet dropout", "дропаут postnet"),
}
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\b(?:nan|-?inf)\b")
RUSSIAN: dict[str, str] = {  # of what is stored in English: with # for each number
    "leave these clips out": "исключить эти записи",
    "go back and halve the learning rate": "вернуться и вдвое снизить скорость обучения",
    "go back and clip gradients at half the norm": "вернуться и вдвое снизить предел градиента",
    "compute each batch in # parts": "считать пакет по частям: #",
    "halve the batch": "вдвое уменьшить пакет",
    "go back and take a tenth of the learning rate": "вернуться и снизить скорость обучения в 10 раз",
    "go back and take a third of the learning rate": "вернуться и снизить скорость обучения втрое",
    "start over with a third of the learning rate": "начать заново, скорость обучения втрое ниже",
    "start over with a tenth of the learning rate": "начать заново, скорость обучения в 10 раз ниже",
    "go back and take the clips in another order": "вернуться и взять записи в другом порядке",
    "go back and lower the learning rate": "вернуться и снизить скорость обучения",
    "lower Adam's epsilon": "снизить epsilon в Adam",
    "raise the learning rate": "поднять скорость обучения",
    "start over, guided, with as many frames a step as the weights serve": (
        "начать заново, направляя внимание, с наибольшим числом кадров на шаг"
    ),
    "guide the attention harder": "сильнее направлять внимание",
    "hide a fifth of the frames from the decoder": "скрыть от декодера пятую часть кадров",
    "give the attention new weights": "дать вниманию новые веса",
    "go back to aligned weights, with another order of clips": (
        "вернуться к выровненным весам, порядок записей другой"
    ),
    "go back and guide the attention": "вернуться и направлять внимание",
    "weigh the ends # times": "вес концов фраз: #",
    "weigh the ends as usual": "вернуть обычный вес концов фраз",
    "let the gate's loss count less": "снизить вклад потерь остановки",
    "halve the weight of the ends": "вдвое снизить вес концов фраз",
    "double the batch, in twice as many parts": "удвоить пакет, вдвое больше частей",
    "lower the learning rate": "снизить скорость обучения",
    "let Adam forget sooner": "пусть Adam забывает быстрее",
    "halve the learning rate": "вдвое снизить скорость обучения",
    "more dropout in the decoder": "больше дропаута в декодере",
    "ten times the weight decay": "затухание весов в 10 раз больше",
    "give these parts new weights": "дать этим частям новые веса",
    "take # clips a batch": "брать в пакет записей: #",
    "go back and take a third of it": "вернуться и снизить скорость обучения втрое",
    "start over with a higher learning rate": "начать заново с большей скоростью обучения",
    "widen the guide, and weigh it once": "расширить направляющую, её вес — не больше 1",
    "let the guide go": "убрать направляющую",
    "let the gate's loss count": "учитывать потери остановки",
    "skip this batch": "пропустить этот пакет",
    "nothing is left to try after # such repairs (# of at most # steps were redone)": (
        "больше пробовать нечего; таких исправлений: # (повторено шагов: # из # возможных)"
    ),
    "# repairs were made": "исправлений сделано: #",
    "# of # clips would be left out: mend the data": "пришлось бы исключить # из # записей: исправьте данные",
    "step #: behind the other trials": "шаг #: отстаёт от других испытаний",
    "its worker died # times": "процесс погиб, раз: #",
    "step #: loss is #, gradient norm is #": "шаг #: потери #, норма градиента #",
}
ONLY_REPORTED = ("only reported: ", "только сообщить: ")
FROM_HERE = (
    " (from here: going back would redo too many steps)",
    " (с этого места: возврат повторил бы слишком много шагов)",
)


def russian(text: str) -> str | None:
    """Of a text that is stored in English; None where the catalogue has none."""
    if text.startswith(ONLY_REPORTED[0]):
        rest = russian(text.removeprefix(ONLY_REPORTED[0]))
        return rest and ONLY_REPORTED[1] + rest
    if text.endswith(FROM_HERE[0]):
        before = russian(text.removesuffix(FROM_HERE[0]))
        return before and before + FROM_HERE[1]
    template, numbers = NUMBER.sub("#", text), NUMBER.findall(text)
    if template not in RUSSIAN:
        return None
    found = RUSSIAN[template]
    for number in numbers:
        found = found.replace("#", number, 1)
    return found
