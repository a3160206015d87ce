"""What is said to a chat, in English and Russian; messages.py beside it puts it together.

Names in braces are filled in. Amounts follow their noun ("trials: 3"), so that none needs a plural. What is
said of rules, repairs and ends of trials is in smart_tuner/repair/words.py.
"""

PHRASES: dict[str, tuple[str, str]] = {
    # a study
    "understood": (
        "Understood: {letters} of 100 letters; of the recordings {recordings}.",
        "Разборчиво букв из 100: {letters}; в записях {recordings}.",
    ),
    "mos": (
        "Predicted MOS: {mos}; of the recordings {recordings_mos}.",
        "Предсказанная оценка MOS: {mos}; записей {recordings_mos}.",
    ),
    "study_start": ("The study has started. Trials: {budget}.", "Исследование начато. Испытаний: {budget}."),
    "study_goes_on": (
        "The study goes on. Trials begun: {done} of {budget}.",
        "Исследование продолжается. Начато испытаний: {done} из {budget}.",
    ),
    "searched": ("Searched: {names}.", "Подбираются: {names}."),
    "study_end": (
        "The study has finished. Trials: {done} of {budget}.",
        "Исследование завершено. Испытаний: {done} из {budget}.",
    ),
    "study_stop": (
        "The study has stopped ({why}). Trials begun: {done} of {budget}.",
        "Исследование остановлено ({why}). Начато испытаний: {done} из {budget}.",
    ),
    "why_stop": ("asked to stop", "по просьбе"),
    "why_pause": ("paused", "пауза"),
    "why_signal": ("a signal came", "по сигналу"),
    "why_failures": ("too many trials failed in a row", "слишком много неудач подряд"),
    "why_lost": ("the database stayed away", "база данных недоступна"),
    "why_fault": ("a fault of the program or the machine", "сбой программы или машины"),
    "study_gone": (
        "The study was deleted or renamed while it ran; its workers have stopped. Its files are kept.",
        "Исследование удалили или переименовали во время работы; исполнители остановились. Файлы сохранены.",
    ),
    "go_on": ("Go on with: {command}", "Продолжить: {command}"),
    "states": (
        "Completed {complete}, pruned {pruned}, failed {fail}, repaired {repaired}; {hours} h of training.",
        "Завершено {complete}, отсечено {pruned}, сбоев {fail}, исправлялось {repaired}; {hours} ч обучения.",
    ),
    "best_line": (
        "Best: {value} (trial {number}, fixes: {repairs}).",
        "Лучшее: {value} (испытание {number}, исправлений: {repairs}).",
    ),
    "goes_on_from": (
        "It goes on from trial {number} ({value} after {step} steps).",
        "Продолжает испытание {number} ({value} после {step} шагов).",
    ),
    "unassisted_line": (
        "Without repairs: {value} (trial {number}).",
        "Без вмешательств: {value} (испытание {number}).",
    ),
    "fresh_line": (
        "Begun anew with repaired values: {value} (trial {number}).",
        "Заново с исправленными значениями: {value} (испытание {number}).",
    ),
    "without_voice": (
        "Trial {number} ({value}) has no voice: it was not trained here.",
        "У испытания {number} ({value}) нет голоса: оно обучалось не здесь.",
    ),
    "no_speech": (
        "No speech yet: that is hardly nearer than a different sentence.",
        "Ещё не речь: чужая фраза почти так же близка.",
    ),
    "no_best": ("No trial has completed yet.", "Пока ни одно испытание не завершено."),
    "copy_synthesis": (
        "Copy-synthesis, the best there can be: {copy_synthesis}.",
        "Ресинтез записи, лучшее из возможного: {copy_synthesis}.",
    ),
    # a trial
    "best": ("New best: {value}{was}, step {step}.", "Новое лучшее: {value}{was}, шаг {step}."),
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
    "eased": (
        "The alarm is gone; what the voice gained is not known yet",
        "Тревога прошла; стал ли голос лучше, ещё неизвестно",
    ),
    "unknown": ("What it was worth is not known", "Помогло ли, неизвестно"),
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
        "Last measure {value}; median of the others {median}.",
        "Последнее измерение {value}; медиана остальных {median}.",
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
        "Его исправления в этом исследовании: помогло {improved}, без пользы {no_effect}, во вред {harm}.",
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
    "paused": (
        "Paused, may go on: trials {numbers}.",
        "На паузе, могут продолжиться: испытания {numbers}.",
    ),
    "wish_run": ("Workers may run.", "Работа разрешена."),
    "wish_pause": (
        "Paused: running trials end, no others start.",
        "Пауза: начатое доделывается, новое не начинается.",
    ),
    "wish_stop": (
        "Stopped: workers save and end.",
        "Остановлено: состояние сохраняется, работа прекращается.",
    ),
    "no_study": ("There is no study yet.", "Пока нет ни одного исследования."),
    "no_trials": ("There are no trials yet.", "Пока нет испытаний."),
    "no_fixes": ("Nothing was repaired.", "Ничего не исправлялось."),
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
    "said_heard": ("Understood: {letters} of 100 letters.", "Разборчиво букв из 100: {letters}."),
    "said_lost": ("Words that were lost: {words}.", "Пропущенные слова: {words}."),
    "said_twice": ("Words that were said twice: {words}.", "Слова, сказанные дважды: {words}."),
    "say_words": ("Spoken by rule: {words}", "Читается по правилам: {words}"),
    "help": (
        "/status  how far the study is\n/best  the best voice, to listen to\n/trials  the newest trials\n"
        "/fixes  what was repaired\n/say TEXT  the best voice says it\n"
        "/pause /resume /stop  after you confirm",
        "/status  как идёт исследование\n/best  лучший голос, послушать\n/trials  последние испытания\n"
        "/fixes  что исправлялось\n/say ТЕКСТ  лучший голос произнесёт\n"
        "/pause /resume /stop  после подтверждения",
    ),
    "test": (
        "Smart Tuner can write to this chat. Studies tell it what matters.",
        "Smart Tuner может писать в этот чат. Исследования сообщат сюда о важном.",
    ),
}
