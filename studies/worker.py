"""Take a trial, run it, decide its end and tell it; until the study's budget is met."""

import time
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from model import checkpoint
from model.failpoint import failpoint
from model.training import NonFinite, OutOfMemory
from objectives.tacotron2 import Attempt, Interrupted, Unrepairable
from smart_tuner.outage import BUDGET_SECONDS, Fenced, Outage
from smart_tuner.records import TrialRepairs, newest_checkpoint, note_checkpoint
from smart_tuner.stall import Watchdog
from studies import attributes
from studies.artifacts import Artifacts, ArtifactsLost, TrialArtifacts, sending
from studies.folders import attempt_folder, clear_unfinished, trial_folder
from studies.history import best_trial, training_left
from studies.leases import Lease, Leases, Outcome, Renewal
from studies.signals import StopSignal, heard_by, start_again
from studies.space import distributions, nearest_in
from studies.spec import Spec
from studies.study import TooManyFailures, gone, rdb, wish
from studies.training import Display, Job

LINGER_SECONDS = 5.0
AGAIN_SECONDS = 0.5


class AskedInVain(Exception):
    """No trial came of asking for one: the database went away, or it took so long that the right ran out."""


@dataclass
class Worker:
    """One process that works on a study.

    Args:
        folder: the study's, for checkpoints and samples; all workers of a study share it, or `artifacts`.
        linger: wait for trials that other workers may leave behind.
        patience: seconds for which the database may be away.
        artifacts: where checkpoints are kept, too, if workers do not share the folder.
    """

    spec: Spec
    study: optuna.Study
    job: Job
    folder: Path
    display: Display
    linger: bool = False
    patience: float = BUDGET_SECONDS
    artifacts: Artifacts | None = None

    def __post_init__(self) -> None:
        self._uid: str = self.study.user_attrs["uid"]
        self._engine = rdb(self.study).ours
        self._leases = Leases(self._engine, self._uid)
        self._stop = StopSignal(self.display.warned)
        self._outage = Outage(
            self.display.warned,
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
        """
        try:
            self._work(max_trials)
        except KeyError:  # so Optuna says that a study, or its trial, is not in the database
            self._wish()
            raise

    def _work(self, max_trials: int | None) -> None:
        with heard_by(self._stop):
            ran = 0
            while max_trials is None or ran < max_trials:
                if self._stop.received is not None:
                    raise Interrupted(self._stop.received)
                if (wanted := self._outage.wait_for(self._wish)) != "run":
                    self.display.warned(f"the study was asked to {wanted}")
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

    def _wish(self) -> str:
        try:
            return wish(self.study)
        except KeyError as error:
            raise gone(self.study, self._uid) from error

    # Taking

    def _take(self) -> tuple[Lease, optuna.Trial] | None:
        """A trial that was left behind, as the same trial; else a new one while the budget lasts."""
        leases, wait_for = self._leases, self._outage.wait_for
        if (lease := wait_for(lambda: leases.claim(self.spec.budget.retries))) is not None:
            assert lease.number is not None
            return lease, self._trial(lease.number)
        if not wait_for(lambda: training_left(self.study, self.spec)):
            return None
        if (reserved := wait_for(lambda: leases.reserve(self.spec.budget.trials))) is None:
            return None
        failpoint("reserved")
        return self._ask(reserved)

    def _ask(self, reserved: Lease) -> tuple[Lease, optuna.Trial]:
        """Raises AskedInVain."""
        asked: list[optuna.Trial] = []
        if not self._outage.attempt(lambda: asked.append(self.study.ask())):
            raise AskedInVain
        failpoint("asked")
        [trial] = asked
        try:
            lease = self._outage.wait_for(lambda: self._leases.bind(reserved, trial.number))
        except Fenced as fenced:
            self.display.warned(str(fenced))
            raise AskedInVain from fenced
        failpoint("bound")
        return lease, trial

    def _trial(self, number: int) -> optuna.Trial:
        def find() -> optuna.Trial:
            storage = self.study._storage
            found = storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
            return optuna.trial.Trial(self.study, found)

        return self._outage.wait_for(find)

    # Running

    def _run(self, lease: Lease, trial: optuna.Trial) -> bool:
        """Run a trial to its end, and tell it; whether it came to one here."""
        folder = attempt_folder(self.folder, trial.number, lease.attempt_no, self.display.warned)
        self._announce(lease)
        renewal = Renewal(self._leases, lease, self._wish)
        with renewal, Watchdog(start_again) as watchdog:
            self._stop.beat = watchdog.beat
            try:
                self._attempt(lease, trial, folder, renewal)
            except Fenced as fenced:
                self.display.warned(str(fenced))
                return False
        failpoint("decided")
        self._outage.wait_for(self._tell_decided)
        return True

    def _attempt(self, lease: Lease, trial: optuna.Trial, folder: Path, renewal: Renewal) -> None:
        """Raises Fenced, also where it shows only in that the folder is gone."""

        def asked_to_stop() -> int | None:
            renewal.check()
            return 0 if renewal.wish == "stop" else self._stop.asked()

        def kept(path: Path) -> None:
            step, place = checkpoint.step_of(path), str(path.relative_to(self.folder))
            row = (trial.number, lease.attempt_uid, step, place, checkpoint.digest(path))
            self._outage.attempt(lambda: note_checkpoint(self._engine, self._uid, *row))
            failpoint("row-written")
            send()

        try:
            if lease.attempt_no > 1:
                self._bring_here(trial.number, folder)
            ledger = self._outage.wait_for(lambda: self._ledger(trial.number, lease.attempt_uid))
            with sending(self._artifacts_of(trial.number, folder), lease.attempt_uid) as send:
                state, value, reason = self._ended(
                    Attempt(trial, folder, ledger, self._outage, asked_to_stop, kept, lease.consumed)
                )
        except (Interrupted, OSError, ArtifactsLost):
            self._outage.attempt(lambda: self._leases.release(lease))
            failpoint("released")
            raise
        self._outage.wait_for(lambda: self._leases.decide(lease, state, value, reason))

    def _ended(self, attempt: Attempt) -> tuple[str, float | None, str]:
        """What is neither an end nor a signal breaks the worker, and shows."""
        try:
            return "COMPLETE", self.job(attempt), ""
        except optuna.TrialPruned as pruned:
            return "PRUNED", None, str(pruned)
        except (NonFinite, OutOfMemory, Unrepairable) as fault:
            return "FAIL", None, str(fault)

    def _ledger(self, number: int, attempt_uid: str) -> TrialRepairs:
        policy = self.study.user_attrs["policy"]
        return TrialRepairs(rdb(self.study), self._uid, number, policy, attempt_uid)

    def _announce(self, lease: Lease) -> None:
        if lease.attempt_no == 1:
            return
        lost = f"lost its worker, for the {lease.deaths}. of at most {self.spec.budget.retries} times"
        why = lost if lease.deaths else "goes on"
        self.display.warned(f"trial {lease.number} {why}: attempt {lease.attempt_no}")

    def _artifacts_of(self, number: int, folder: Path) -> TrialArtifacts | None:
        if self.artifacts is None:
            return None
        return TrialArtifacts(self.artifacts, self._engine, self._uid, number, folder, self.display.warned)

    def _bring_here(self, number: int, folder: Path) -> None:
        """What an attempt before this one left, wherever it was."""
        if (stored := self._artifacts_of(number, folder)) is not None:
            self._outage.wait_for(stored.bring_here)
        known = self._outage.wait_for(lambda: newest_checkpoint(self._engine, self._uid, number))
        if known is not None and not checkpoint.all_in(folder):
            step, place = known
            self.display.warned(
                f"trial {number}: its checkpoint of step {step} ({place}) is not under {self.folder}; "
                "it begins anew. To go on with it, give the --home or --artifacts that holds it."
            )

    # Looking after

    def _look_after(self) -> None:
        """Find trials nobody holds, and tell what was decided, whoever decided it."""
        trials = self.study.get_trials(deepcopy=False)
        running = [t.number for t in trials if t.state == TrialState.RUNNING]
        self._leases.adopt(running, [t.number for t in trials if t.state.is_finished()])
        self._tell_decided()

    def _tell_decided(self) -> None:
        for outcome in self._leases.decided():
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        number = outcome.number
        trial = self._trial(number)
        try:
            if outcome.reason:
                trial.set_user_attr("reason", outcome.reason)
            if outcome.state == "COMPLETE":
                _enqueue_fresh(self.study, self.spec, number)
            failpoint("telling")
            state = TrialState[outcome.state]
            self.study.tell(number, outcome.value, state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            pass  # another worker has just told it
        clear_unfinished(trial_folder(self.folder, number))  # where it was given up
        value = self.study._storage.get_trial(trial._trial_id).value
        self.display.trial_ended(number, outcome.state, value, outcome.reason)
        self._leases.told(number)  # last: whoever dies before this leaves it all to be told again

    def _show(self) -> None:
        counts = self._outage.wait_for(self._leases.counts)
        best = self._outage.wait_for(lambda: best_trial(self.study))
        self.display.study(sum(counts.values()), self.spec, best.value if best else None)

    def _check_failures(self) -> None:
        limit = self.spec.budget.failures
        trials = self._outage.wait_for(lambda: self.study.get_trials(deepcopy=False))
        last = [t for t in trials if t.state.is_finished()][-limit:]
        if len(last) == limit and all(t.state == TrialState.FAIL for t in last):
            raise TooManyFailures(
                f'Study "{self.spec.name}" stopped: its last {limit} trials failed.\n'
                f"The last one: {attributes.reason(last[-1]) or 'unknown'}.\n"
                "Narrow the search space, or raise budget.failures in the study file."
            )


def _enqueue_fresh(study: optuna.Study, spec: Spec, number: int) -> None:
    """Let a new trial begin with the values that repairs led to: only then are they known to be good."""
    trials = study.get_trials(deepcopy=False)
    trial, known = trials[number], distributions(spec)
    effective = attributes.effective(trial).items()
    repaired = {name: nearest_in(known[name], value) for name, value in effective if name in known}
    params = {**trial.params, **repaired}
    fresh = [of for t in trials if (of := attributes.fresh_of(t)) is not None]
    room = len(fresh) < spec.rules.fresh_share * spec.budget.trials
    if params != trial.params and number not in fresh and room:
        study.enqueue_trial(params, user_attrs={"fresh_of": number}, skip_if_exists=True)
