"""Take a trial, run it, decide its end and tell it; until the study's budget is met."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError

from model import checkpoint
from model.checkpoint import DamagedCheckpoint
from model.failpoint import failpoint
from objectives.attempt import Attempt, Callback, End
from objectives.listening import hand_on
from objectives.trial import Interrupted, Paused
from smart_tuner.repair.words import Reason, reason
from smart_tuner.store import attributes
from smart_tuner.store.attributes import GoesOn, goes_on_from, is_of_the_search
from smart_tuner.store.leases import Lease, Leases, Outcome, Renewal
from smart_tuner.store.optuna_private import id_of, latest, storage_of, study_id_of
from smart_tuner.store.outage import BUDGET_SECONDS, DatabaseGone, Fenced, Outage, StorageLost
from smart_tuner.store.records import TrialRepairs, newest_checkpoint, note_checkpoint
from studies.file.space import distributions, nearest_in
from studies.file.spec import Spec
from studies.report.described import Described
from studies.report.history import (
    beside_the_search,
    best_measured,
    best_trial,
    consumed_by_search,
    most_steps,
    to_repeat,
    to_train_on,
    training_left,
    twin,
)
from studies.report.voices import best_checkpoint
from studies.run.artifacts import Artifacts, ArtifactsLost, TrialArtifacts, sending
from studies.run.asking import ask, ask_to_go_on, ask_to_repeat, is_ours
from studies.run.ending import EndedElsewhere, end_by, end_with, explained
from studies.run.folders import attempt_folder, clear_unfinished, trial_folder
from studies.run.signals import StopSignal, heard_by, start_again
from studies.run.study import StudyError, TooManyFailures, desired_state, gone, rdb
from studies.run.training import Job
from studies.run.watchdog import Watchdog
from studies.search.freeze_thaw import next_trial

LINGER_SECONDS = 5.0
AGAIN_SECONDS = 0.5
ELSEWHERE = "somebody else told its end"


class AskedInVain(Exception):
    """No trial came of asking for one: the database went away, or it took so long that the right ran out."""


@dataclass
class Worker:
    """One process that works on a study.

    Args:
        callback: told how trials go; whoever makes the worker enters it, as a context, before.
        folder: the study's, for checkpoints and samples; all workers of a study share it, or `artifacts`.
        linger: wait for trials that other workers may leave behind.
        patience: seconds for which the database may be away.
        on_stall: called where a step hangs, with the seconds for which it did.
        artifacts: where checkpoints are kept, too, if workers do not share the folder.
    """

    spec: Spec
    study: optuna.Study
    job: Job
    folder: Path
    callback: Callback
    linger: bool = False
    patience: float = BUDGET_SECONDS
    artifacts: Artifacts | None = None
    on_stall: Callable[[float], None] = start_again

    def __post_init__(self) -> None:
        self._uid: str = self.study.user_attrs["uid"]
        self._engine = rdb(self.study).ours
        self._leases = Leases(self._engine, self._uid)
        self._stop = StopSignal(self.callback.warned)
        self._outage = Outage(
            self.callback.warned,
            self.patience,
            lambda: self._stop.received is not None,
            self._leases.forget_watched,
        )

    def work(self, max_trials: int | None = None) -> None:
        """Run trials until the budget is met, or as many as `max_trials`.

        Raises:
            Interrupted: a signal or a person asked for a stop; the running trial can go on.
            StorageLost: the database stayed away; the running trial can go on.
            TooManyFailures, StudyGone: see there.
            Other exceptions are faults of the machine or of this program; the running trial can go on.
        """
        with heard_by(self._stop):
            try:
                self._work(max_trials)
            except KeyError:  # so Optuna says that a study, or its trial, is not in the database
                self._desired_state()
                raise

    def _work(self, max_trials: int | None) -> None:
        ran = 0
        while max_trials is None or ran < max_trials:
            if self._stop.received is not None:
                raise Interrupted(self._stop.received)
            if (wanted := self._outage.wait_for(self._desired_state)) != "run":
                self.callback.warned(f"the study was asked to {wanted}")
                return
            self._outage.wait_for(self._look_after)
            self._check_failures()
            self._show()
            try:
                taken = self._take()
            except AskedInVain:
                time.sleep(AGAIN_SECONDS)
                continue  # what was made, but never heard of, is found when trials are looked after
            if taken is not None:
                ran += self._run(*taken)
            elif self.linger and self._outage.wait_for(self._leases.counts).get("held"):
                time.sleep(LINGER_SECONDS)
            else:
                return

    def _desired_state(self) -> str:
        try:
            return desired_state(self.study)
        except KeyError as error:
            raise gone(self.study, self._uid) from error

    # Taking

    def _take(self) -> tuple[Lease, optuna.Trial] | None:
        """A trial that was left behind, as the same trial; else a new one while the budget lasts."""
        leases, wait_for = self._leases, self._outage.wait_for
        own = self.spec.budget.retries, self._has_left, not self.spec.freezes
        while (lease := wait_for(lambda: leases.claim(*own))) is not None:
            with self._word_left(lease):
                if (trial := self._trial(lease)) is not None:
                    return lease, trial
                wait_for(partial(self._accept, lease))
        if self.spec.freezes:
            return self._thawed() or self._asked_last()
        if wait_for(lambda: training_left(self.study, self.spec)):
            budget = self.spec.budget.trials + wait_for(lambda: len(beside_the_search(self.study)))
            if (reserved := wait_for(lambda: leases.reserve(budget))) is not None:
                failpoint("reserved")
                return self._ask(reserved, lambda: ask(self.study))
        return self._asked_last()

    def _thawed(self) -> tuple[Lease, optuna.Trial] | None:
        """What a freeze-thaw search trains next: a paused trial, or a new one. Once its steps are used
        up, and nobody trains any more, the paused ones come to their end."""
        leases, wait_for = self._leases, self._outage.wait_for
        if not wait_for(lambda: training_left(self.study, self.spec)):
            if not wait_for(leases.counts).get("held"):
                self._end_paused()
            return None
        if (number := wait_for(lambda: next_trial(self.study, self.spec, leases.paused()))) is None:
            reserved = wait_for(lambda: leases.reserve(sys.maxsize))
            assert reserved is not None
            failpoint("reserved")
            return self._ask(reserved, lambda: ask(self.study))
        if (lease := wait_for(lambda: leases.take_up(number))) is None:
            raise AskedInVain  # another worker was faster
        failpoint("thawed")
        with self._word_left(lease):
            if (trial := self._trial(lease)) is None:
                wait_for(partial(self._accept, lease))
                raise AskedInVain
        return lease, trial

    def _end_paused(self) -> None:
        """The best of the search, if it is among them, has its value; the others are pruned."""
        leases, wait_for = self._leases, self._outage.wait_for
        best = wait_for(lambda: best_measured(self.study))
        for number in wait_for(leases.paused):
            if (lease := wait_for(partial(leases.take_up, number))) is None:
                continue
            end: End = "PRUNED", None, reason("not_chosen")
            if best is not None and best[0] == number:
                end = "COMPLETE", best[1], Reason("")
            wait_for(partial(leases.decide, lease, *end))
            failpoint("decided")
        wait_for(self._tell_decided)

    def _asked_last(self) -> tuple[Lease, optuna.Trial] | None:
        """A trial that repeats the search's best one or trains it on, once there is nothing else to do.
        Whoever may ask for it is alone, and only then looks whether it is still wanted: so however many ask,
        there is one."""
        wait_for = self._outage.wait_for
        if wait_for(self._wanted_last) is None or (reserved := wait_for(self._leases.reserve_alone)) is None:
            return None
        failpoint("reserved")
        found = wait_for(self._wanted_last)
        if found is None or (found[1] is not None and not self._is_here(found[1])):
            wait_for(lambda: self._leases.give_up(reserved))
            return None
        best, goes_on = found
        if goes_on is None:
            self.callback.warned(f"the search is over: trial {best.number} is repeated with another seed")
            return self._ask(reserved, lambda: ask_to_repeat(self.study, best))
        self.callback.warned(f"the search is over: trial {best.number} is trained on to step {goes_on.steps}")
        return self._ask(reserved, lambda: ask_to_go_on(self.study, best, goes_on))

    def _wanted_last(self) -> tuple[FrozenTrial, GoesOn | None] | None:
        """The search's best trial, and how it is to be trained on; None there: it is to be repeated first."""
        if (best := to_repeat(self.study, self.spec)) is not None:
            return best, None
        return to_train_on(self.study, self.spec)

    def _is_here(self, goes_on: GoesOn) -> bool:
        """Whether its checkpoint can be had; else another worker may have it, or nobody."""
        try:
            self._outage.wait_for(lambda: self._checkpoint_of(goes_on))
        except (StudyError, DamagedCheckpoint, ArtifactsLost) as error:
            self.callback.warned(f"trial {goes_on.trial} is not trained on. {error}")
            return False
        return True

    def _checkpoint_of(self, goes_on: GoesOn) -> Path:
        return best_checkpoint(self.study, goes_on.trial, self.folder, self.artifacts)[1]

    def _ask(self, reserved: Lease, ask: Callable[[], optuna.Trial]) -> tuple[Lease, optuna.Trial]:
        """Raises AskedInVain."""
        asked: list[optuna.Trial] = []
        if not self._outage.attempt(lambda: asked.append(ask())):
            raise AskedInVain
        failpoint("asked")
        [trial] = asked
        try:
            lease = self._outage.wait_for(lambda: self._leases.bind(reserved, trial.number))
        except Fenced as fenced:
            self.callback.warned(str(fenced))
            raise AskedInVain from fenced
        except IntegrityError as error:
            raise StudyError(
                f'Cannot go on with study "{self.spec.name}".\n'
                f"Optuna gave a new trial the number {trial.number}, which another one has: "
                "trials were deleted from its database.\nStart the study anew under another name."
            ) from error
        failpoint("bound")
        return lease, trial

    def _trial(self, lease: Lease) -> optuna.Trial | None:
        """The trial to go on with; None where it has its end already."""

        def find() -> optuna.Trial | None:
            found = self._found(lease.number)
            return None if found is None or _is_over(found) else optuna.trial.Trial(self.study, id_of(found))

        return self._outage.wait_for(find)

    def _found(self, number: int | None) -> FrozenTrial | None:
        """What the database has; None for a trial that somebody deleted. Raises StudyGone."""
        assert number is not None
        storage, study = storage_of(self.study), study_id_of(self.study)
        try:
            return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study, number))
        except KeyError:
            self._desired_state()
            return None

    def _accept(self, lease: Lease) -> None:
        """Somebody else ended the trial, or deleted it: that stands, and nothing is told."""
        if self._show_end(lease.number):
            with suppress(Fenced):  # another worker has accepted it, too
                self._leases.close(lease)

    # Running

    def _run(self, lease: Lease, trial: optuna.Trial) -> bool:
        """Run a trial to its end, and tell it; whether it came to one here."""
        try:
            with self._word_left(lease):
                self._attempt(lease, trial)
        except EndedElsewhere:
            self._outage.wait_for(lambda: self._accept(lease))
            return True
        except Paused as paused:
            self.callback.warned(f"trial {lease.number} is {paused}, and may go on later")
            return False
        except Fenced as fenced:
            self.callback.lost()
            self.callback.warned(str(fenced))
            return False
        failpoint("decided")
        self._outage.wait_for(self._tell_decided)
        return True

    def _attempt(self, lease: Lease, trial: optuna.Trial) -> None:
        """Train a trial and decide what becomes of it.

        Whatever ends it comes by here. Raises Fenced, EndedElsewhere, or what is no fault of the trial, which
        then is free for whoever goes on with it.
        """
        try:
            end = end_with(self._trained(lease, trial))
        except Fenced:
            raise
        except BaseException as error:
            if (own := end_by(error)) is None:
                if (meant := self._let_go(lease, error)) is not None:
                    raise meant from error
                raise
            end = own
        self._outage.wait_for(lambda: self._leases.decide(lease, *end))

    def _let_go(self, lease: Lease, error: BaseException) -> Exception | None:
        """Leave the trial as somebody else ended it, or give it free; what `error` means, if it does not say.

        Raises Fenced, also where it shows only in that the folder is gone.
        """
        if isinstance(error, UpdateFinishedTrialError | KeyError):
            found = self._outage.wait_for(lambda: self._found(lease.number))
            if found is None or _is_over(found):
                return EndedElsewhere(f"trial {lease.number} was ended by somebody else")
        if not isinstance(error, StorageLost | DatabaseGone):
            self._give_back(lease, self._leases.pause if isinstance(error, Paused) else self._leases.release)
            failpoint("released")
        return explained(error)

    def _give_back(self, lease: Lease, give: Callable[[Lease], None]) -> None:
        """Raises Fenced."""
        with suppress(StorageLost):
            if self._outage.attempt(lambda: give(lease)):
                return
        self._leave_word(lease)

    @contextmanager
    def _word_left(self, lease: Lease) -> Iterator[None]:
        """Where the database is lost meanwhile, that is no death."""
        try:
            yield
        except (StorageLost, DatabaseGone):
            self._leave_word(lease)
            raise

    def _leave_word(self, lease: Lease) -> None:
        """For whoever claims the trial: an attempt ended, and could not tell the database."""
        with suppress(OSError):
            self._word_of(lease.attempt_uid).touch()

    def _has_left(self, attempt_uid: str) -> bool:
        return self._word_of(attempt_uid).exists()

    def _word_of(self, attempt_uid: str) -> Path:
        return self.folder / f"left-{attempt_uid}"

    def _trained(self, lease: Lease, trial: optuna.Trial) -> float:
        """The value of a trial that came to its end."""
        folder = attempt_folder(self.folder, trial.number, lease.attempt_no, self.callback.warned)
        self._announce(lease)
        renewal = Renewal(self._leases, lease, lambda: self._desired_state_for(lease))

        def asked_to_stop() -> int | None:
            renewal.check()
            return 0 if renewal.desired_state == "stop" else self._stop.asked()

        def kept(path: Path) -> None:
            step, place = checkpoint.step_of(path), str(path.relative_to(self.folder))
            row = (trial.number, lease.attempt_uid, step, place, checkpoint.digest(path))
            self._outage.attempt(lambda: note_checkpoint(self._engine, self._uid, *row))
            failpoint("row-written")
            send()

        with renewal, Watchdog(self.on_stall) as watchdog:
            self._stop.beat = watchdog.beat
            if lease.attempt_no > 1:
                self._bring_here(trial.number, folder)
            self._begin_with(goes_on_from(latest(trial)), folder)
            ledger = self._outage.wait_for(lambda: self._ledger(trial.number, lease.attempt_uid))
            with sending(self._artifacts_of(trial.number, folder), lease.attempt_uid) as send:
                goes_on = partial(self._goes_on, trial)
                told = self._outage, asked_to_stop, kept, goes_on, lease.was_paused, lease.consumed
                return self._told(Attempt(trial, folder, ledger, *told))

    def _told(self, attempt: Attempt) -> float:
        """Run the trial; callbacks hear how the attempt ends while its lease is still renewed."""
        try:
            value = self.job(attempt)
        except Fenced:
            raise
        except Exception as error:
            self.callback.left(end_by(error))
            raise
        self.callback.left(end_with(value))
        return value

    def _desired_state_for(self, lease: Lease) -> str:
        """Asked with every renewal. Raises EndedElsewhere, StudyGone."""
        found = self._found(lease.number)
        if found is None or _is_over(found):
            raise EndedElsewhere(f"trial {lease.number} was ended by somebody else")
        return self._desired_state()

    def _goes_on(self, trial: optuna.Trial) -> bool:
        """Whether the search chooses the trial again; while the database is away, it trains on."""
        chosen: list[bool] = []

        def choose() -> None:
            left = training_left(self.study, self.spec)
            waiting = [*self._leases.paused(), trial.number]
            own = left and next_trial(self.study, self.spec, waiting) == trial.number
            chosen.append(own or not is_of_the_search(latest(trial)))

        return not self.spec.freezes or not self._outage.attempt(choose) or chosen[-1]

    def _ledger(self, number: int, attempt_uid: str) -> TrialRepairs:
        policy = self.study.user_attrs["policy"]
        return TrialRepairs(rdb(self.study), self._uid, number, policy, attempt_uid)

    def _announce(self, lease: Lease) -> None:
        if lease.attempt_no == 1 or lease.was_paused:
            return
        lost = f"lost its worker, for the {lease.deaths}. of at most {self.spec.budget.retries} times"
        why = lost if lease.deaths else "goes on"
        self.callback.warned(f"trial {lease.number} {why}: attempt {lease.attempt_no}")

    def _artifacts_of(self, number: int, folder: Path) -> TrialArtifacts | None:
        if self.artifacts is None:
            return None
        return TrialArtifacts(self.artifacts, self._engine, self._uid, number, folder, self.callback.warned)

    def _bring_here(self, number: int, folder: Path) -> None:
        """What an attempt before this one left, wherever it was."""
        if (stored := self._artifacts_of(number, folder)) is not None:
            self._outage.wait_for(stored.bring_here)
        known = self._outage.wait_for(lambda: newest_checkpoint(self._engine, self._uid, number))
        if known is not None and not checkpoint.all_in(folder):
            step, place = known
            self.callback.warned(
                f"trial {number}: its checkpoint of step {step} ({place}) is not under {self.folder}; "
                "it begins anew. To go on with it, give the --home or --artifacts that holds it."
            )

    def _begin_with(self, goes_on: GoesOn | None, folder: Path) -> None:
        """The checkpoint of the trial that this one goes on from, unless it has come further."""
        if goes_on is None:
            return
        newest = checkpoint.newest(folder, lambda _: None)
        if newest is not None and checkpoint.step_of(newest) >= goes_on.step:
            return
        source = self._outage.wait_for(lambda: self._checkpoint_of(goes_on))

        def fill(target: Path) -> None:
            for file in checkpoint.files(source):
                if file.name != checkpoint.MANIFEST:
                    shutil.copyfile(file, target / file.name)

        hand_on(source.parent, folder, goes_on.step)  # first: whoever finds the checkpoint has all
        checkpoint.write(folder, goes_on.step, fill)

    # Looking after

    def _look_after(self) -> None:
        """Find trials nobody holds, and tell what was decided, whoever decided it."""
        storage, study = rdb(self.study), study_id_of(self.study)  # Optuna's cache keeps what was deleted
        finished = [t.number for t in self.study.get_trials(deepcopy=False) if _is_over(t)]
        running = storage.get_all_trials(study, deepcopy=False, states=(TrialState.RUNNING,))
        self._leases.adopt([t.number for t in running if is_ours(t)], finished)
        self._tell_decided()

    def _tell_decided(self) -> None:
        for outcome in self._leases.decided():
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        number = outcome.number
        if (found := self._found(number)) is not None:
            with suppress(UpdateFinishedTrialError):  # somebody has just told it
                trial = optuna.trial.Trial(self.study, id_of(found))
                if outcome.reason.text:
                    trial.set_user_attr("reason", outcome.reason.text)
                if outcome.reason.code:
                    trial.set_user_attr("ended", outcome.reason.record())
                if outcome.state == "COMPLETE":
                    _enqueue_fresh(self.study, self.spec, number)
                failpoint("telling")
                state = TrialState[outcome.state]
                self.study.tell(number, outcome.value, state, skip_if_finished=True)
                self._tell_of_twin(number)
        if self._show_end(number, outcome):
            self._leases.told(number)  # last: whoever dies before this leaves it all to be told again

    def _tell_of_twin(self, number: int) -> None:
        if (found := twin(self.study, number)) is not None:
            other, names = found
            self.callback.warned(
                f"trial {number} went exactly as trial {other}, though {', '.join(names)} differ: that "
                "changes nothing, or is not passed on"
            )

    def _show_end(self, number: int | None, decided: Outcome | None = None) -> bool:
        """As the database has it, whatever was decided here; whether it still has the trial."""
        assert number is not None
        clear_unfinished(trial_folder(self.folder, number))  # where its worker was killed
        if (found := self._found(number)) is None:
            self.callback.warned(f"trial {number} was deleted by somebody else; going on without it")
            self._leases.forget(number)
            return False
        state, value = found.state.name, found.value
        ours = decided is not None and decided.state == state and decided.value in (None, value)
        self.callback.ended(number, state, value, decided.reason.text if decided and ours else ELSEWHERE)
        return True

    def _show(self) -> None:
        counts = self._outage.wait_for(self._leases.counts)
        best = self._outage.wait_for(self._best)
        begun = sum(counts.values()) - self._outage.wait_for(lambda: len(beside_the_search(self.study)))
        most = self.spec.budget.trials
        if self.spec.freezes:  # whole trials, as which the steps of paused ones count
            whole = self.spec.objective.steps
            steps, _ = self._outage.wait_for(lambda: consumed_by_search(self.study))
            begun, most = steps // whole, int(most_steps(self.spec)) // whole
        self.callback.progressed(self.spec.name, begun, most, best)

    def _best(self) -> str:
        value = best.value if (best := best_trial(self.study)) else None
        return "" if value is None else Described.of(self.study).shown(value)

    def _check_failures(self) -> None:
        limit = self.spec.budget.failures
        trials = self._outage.wait_for(lambda: self.study.get_trials(deepcopy=False))
        last = [t for t in trials if _is_over(t) and _is_of_the_search(t)][-limit:]
        if len(last) == limit and all(t.state == TrialState.FAIL for t in last):
            raise TooManyFailures(
                f'Study "{self.spec.name}" stopped: its last {limit} trials failed.\n'
                f"The last one: {attributes.reason(last[-1]) or 'unknown'}.\n"
                "Narrow the search space, or raise budget.failures in the study file."
            )


def _is_over(trial: FrozenTrial) -> bool:
    return trial.state.is_finished()


def _is_of_the_search(trial: FrozenTrial) -> bool:
    """A failure says nothing of the search space where its values, or itself, came from elsewhere."""
    enqueued, decided_here = "fixed_params" in trial.system_attrs, "reason" in trial.user_attrs
    if not is_of_the_search(trial):
        return False
    return trial.state != TrialState.FAIL or (decided_here and not enqueued)


def _enqueue_fresh(study: optuna.Study, spec: Spec, number: int) -> None:
    """Let a new trial begin with the values that repairs led to: only then are they known to be good.
    What is among no choices of the space is not tried."""
    trials = study.get_trials(deepcopy=False)
    trial, known = next(t for t in trials if t.number == number), distributions(spec)
    if not is_of_the_search(trial):
        return
    effective = {name: v for name, v in attributes.effective(trial).items() if name in known}
    repaired = {name: nearest_in(known[name], value) for name, value in effective.items()}
    if any(repaired[n] != effective[n] for n in repaired if isinstance(known[n], CategoricalDistribution)):
        return
    params = {**trial.params, **repaired}
    fresh = [of for t in trials if (of := attributes.fresh_of(t)) is not None]
    room = len(fresh) + 1 <= spec.rules.fresh_share * spec.budget.trials
    if params != trial.params and number not in fresh and room:
        study.enqueue_trial(params, user_attrs={"fresh_of": number}, skip_if_exists=True)
