"""What trains in a search: settings begin, those behind stop, and others take their place."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import ConfigError, RunError, TunesmithError
from tunesmith.core.numbers import duration, pluralize
from tunesmith.core.progress import TOGETHER, Cancelled, Event, Phase, Progress, finishing_first
from tunesmith.evaluation.measures import KnownBase
from tunesmith.methods import table
from tunesmith.runs.lock import CHANGED
from tunesmith.runs.prepare import LoadRows, PreparedRun, build_optimizer, member_of, prepare
from tunesmith.runs.result import resolved
from tunesmith.runs.started import begin
from tunesmith.studies.compare import ProgressOf, read_once
from tunesmith.studies.search_space import default_space, own_values
from tunesmith.studies.search_start import with_length
from tunesmith.studies.search_state import SearchState, TriedSetting
from tunesmith.studies.searcher import KnownSetting, is_behind, suggest
from tunesmith.training.events import Ended, HeldOut, Planned
from tunesmith.training.job import Member, planned
from tunesmith.training.loop import overdue, train
from tunesmith.training.measure import stream_tokens

AT_ONCE = 8  # settings that train together
PARTS, RUNGS = 8, (1, 2, 4)  # of a run's steps; after so many parts the better half continues
# Steps that a setting takes, as a share of a whole run, where half of them stops at each rung.
SHARE = sum((b - a) / 2**i for i, (a, b) in enumerate([(0, 1), (1, 2), (2, 4), (4, 8)])) / PARTS
FEWEST = 3  # settings; fewer are no search
DRAWS = 20  # of a setting that is not known yet


@dataclass(slots=True, eq=False)
class SearchGroup:
    """A search in this process: what trains now, by the name of its setting."""

    state: SearchState
    base: KnownBase
    progress_of: ProgressOf
    load: LoadRows = field(default_factory=read_once)
    runs: dict[str, PreparedRun] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    waiting: list[TriedSetting] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)
    earlier: float = field(init=False)

    def __post_init__(self) -> None:
        """Count on from earlier processes."""
        self.earlier = self.state.seconds

    @property
    def progress(self) -> Progress:
        """Of the search as a whole."""
        return self.progress_of(TOGETHER)

    @property
    def rate(self) -> float:
        """The learning rate that the config means."""
        config, width = self.state.config, self.base.loaded.engine.config.hidden_size
        lr = config.train.lr
        return table.learning_rate(config.method.kind, width) if lr == "auto" else lr

    def save(self) -> None:
        """Keep the state as it is now."""
        self.state.seconds = self.earlier + time.monotonic() - self.start
        self.state.save()

    def set_up(self) -> None:
        """The length of a run and what is searched; then the settings that were in training, or the
        config's own, by which memory and speed are measured.
        """
        state = self.state
        if not state.steps:
            rows = self.load(state.config, self.base.loaded, None, self.progress)
            with_length(state, rows, parts=PARTS)
        if not state.space:
            linears = list(self.base.loaded.engine.linears)
            state.space = default_space(state.config, rate=self.rate, linears=linears)
        if not state.trials:
            own = own_values(state.config, state.space, rate=self.rate)
            state.trials.append(TriedSetting("setting-01", own))
        for trial in [trial for trial in state.trials if trial.state == "running"]:
            self._begin(trial)
        if state.count is None:
            self._settle_count()
        self.save()

    def _begin(self, trial: TriedSetting) -> Member | None:
        """Attach a setting and restore how far it came; None where it is refused."""
        folder, state = self.state.folder(trial), self.state
        try:
            if not folder.config.exists():
                made = resolved(state.config_of(trial))
                folder.create(made.model_dump(mode="json", by_alias=True))
            run = begin(folder.read_config(), folder, self._heard(trial))
            prepared = prepare(run, self.base, name=trial.name, load=self.load)
            self.runs[trial.name] = prepared
            member = member_of(
                prepared,
                build_optimizer(prepared),
                beside=next((each.plan for each in self.members.values()), None),
                together=AT_ONCE * stream_tokens(prepared.job),
            )
        except TunesmithError as error:
            if len(state.trials) == 1 or error.code == CHANGED:  # which is so of all settings
                raise
            self._fail(trial, error)
            return None
        trial.losses = {
            step: loss
            for step, loss in folder.held_out_losses().items()
            if step <= member.state.step
        }
        self.members[trial.name] = member
        return member

    def _heard(self, trial: TriedSetting) -> Progress:
        """What goes through a setting's run: of what it will take the search reports once."""
        progress = self.progress_of(trial.name)

        def report(event: Event) -> None:
            if not isinstance(event, Planned):
                progress.report(event)

        return replace(progress, on_event=report)

    def _settle_count(self) -> None:
        """How many settings fit, by the first one's measured speed; ConfigError for too few."""
        state, (member, *_) = self.state, self.members.values()
        whole = planned(member).seconds
        scoring = sum(member.evaluation_seconds)
        used = self.earlier + time.monotonic() - self.start
        fits = int((60 * state.minutes - used - scoring) / (SHARE * whole))
        least = min(FEWEST, state.most or FEWEST)
        if fits < least:
            needed = math.ceil((least * SHARE * whole + used + scoring) / 60)
            raise ConfigError(
                f"A search of {duration(60 * state.minutes)} has room for "
                f"{pluralize(max(0, fits), 'setting')}: a whole run takes {duration(whole)}, its "
                f"evaluation {duration(scoring)}.",
                remedy=f"Give it --minutes {needed} or more, or shorter runs, such as "
                "--train.epochs 1.",
            )
        state.count = min(fits, state.most or fits)
        self._fix_micro_batches(member)
        stops = ", ".join(f"{state.every * rung:,}" for rung in RUNGS)
        self.progress.notice(
            "search",
            f"{pluralize(state.count, 'setting')} fit in {duration(60 * state.minutes)}: a whole "
            f"run of {pluralize(state.steps, 'step')} takes {duration(whole)}; the worse half "
            f"stops after step {stops}",
        )

    def _fix_micro_batches(self, member: Member) -> None:
        """In the config of every setting, the first one's too: so the same config alone computes
        the same.
        """
        state = self.state
        size, recompute = member.plan.tokens_per_micro_batch, member.plan.recompute
        fixed = {"tokens_per_micro_batch": size, "recompute": recompute}
        folder = state.folder(state.trials[0])
        first = _with_train(folder.read_config(), fixed)
        folder.write_config(first.model_dump(mode="json", by_alias=True))
        state.config = _with_train(state.config, fixed)

    def train(self) -> None:
        """Train until every setting has stopped or ended; Cancelled where that is asked for.

        All reach their marks in the same rounds. After a kill some may have saved the last one and
        others not: the first then wait for these.
        """
        for trial in self._running:  # by which it is compared before it trains on
            self._hear(overdue(self.members[trial.name], self.progress))
        running = self._running
        self.waiting = [each for each in running if self._step(each) > each.at]
        if len(self.waiting) in (0, len(running)):
            self.waiting = []
            self.between()
            coming = [self.members[each.name] for each in self._running]
        else:
            coming = [self.members[e.name] for e in running if e not in self.waiting]
        with finishing_first():
            self._hear(train(coming, progress=self.progress, joining=self.between))
        self._record_ends()
        if any(trial.state == "running" for trial in self.state.trials):
            raise Cancelled

    def _hear(self, events: Iterator[tuple[Member, Event]]) -> None:
        """Keep the losses, and report each event to its run."""
        for member, event in events:
            name = next(name for name, each in self.members.items() if each is member)
            if isinstance(event, HeldOut):
                self._trial(name).losses[event.step] = event.loss
            self.runs[name].run.progress.report(event)

    def _trial(self, name: str) -> TriedSetting:
        return next(trial for trial in self.state.trials if trial.name == name)

    @property
    def _running(self) -> list[TriedSetting]:
        """Settings that train on, the first one first."""
        trials = [trial for trial in self.state.trials if trial.state == "running"]
        return [each for each in trials if self.members[each.name].ended is None]

    def _step(self, trial: TriedSetting) -> int:
        return self.members[trial.name].state.step

    def between(self) -> list[Member]:
        """What follows a round in which all reached a mark: who is behind stops, and others begin
        in their place.
        """
        ended, every = self._record_ends(), self.state.every
        steps = {self._step(trial) for trial in self._running}
        is_mark = all(step % every == 0 for step in steps)
        if self.progress.is_cancelled or not is_mark:
            if ended:
                self.save()
            return self._caught_up() if len(steps) == 1 else []
        stopped = self._stop_those_behind()
        for trial in self._running:
            trial.at = self._step(trial)
        begun = [*self._caught_up(), *self._fill()]
        self.save()
        for trial in stopped:  # not before it is known that they are not needed
            self.state.drop_checkpoints(trial)
        self._report()
        return begun

    def _caught_up(self) -> list[Member]:
        """Those that waited, between two marks, for the others, which are now as far."""
        waited, self.waiting = self.waiting, []
        return [self.members[each.name] for each in waited if each in self._running]

    def _stop_those_behind(self) -> list[TriedSetting]:
        """Compare all that have just come as far as a rung with all that ever did."""
        rungs = [self.state.every * rung for rung in RUNGS]
        due = [trial for trial in self._running if self._step(trial) in rungs]
        due = [t for t in due if self._step(t) in t.losses and self._step(t) not in t.passed]
        peers = [trial.losses for trial in self.state.trials if trial.losses]
        behind = [trial for trial in due if is_behind(trial.losses, peers)]
        for trial in due:
            if trial in behind:
                self._stop(trial)
            else:
                trial.passed.append(self._step(trial))
        return behind

    def _stop(self, trial: TriedSetting) -> None:
        """End a setting; its folder keeps what is needed to see why."""
        member = self.members[trial.name]
        member.ended = Ended(member.state.step, "stopped")
        trial.state = "stopped"
        self.runs[trial.name].run.progress.report(member.ended)
        self.release(trial)

    def release(self, trial: TriedSetting) -> None:
        """Make room where the base lies."""
        run, member = self.runs.pop(trial.name, None), self.members.pop(trial.name, None)
        if member is not None:
            member.end_training()
        if run is not None:
            run.job.adapter.detach()

    def _fail(self, trial: TriedSetting, error: TunesmithError) -> None:
        trial.state, trial.why = "failed", str(error)
        self.release(trial)

    def _record_ends(self) -> bool:
        """Whether a setting trained to its end, or failed, since."""
        found = False
        for trial in [trial for trial in self.state.trials if trial.state == "running"]:
            member = self.members[trial.name]
            if member.ended is None or member.ended.reason == "stopped":
                continue
            found = True
            if member.error is not None:
                self._fail(trial, member.error)
            else:
                trial.state = "done"
                member.end_training()
        return found

    def _fill(self) -> Iterator[Member]:
        """New settings, while there is room for them."""
        state = self.state
        assert state.count is not None
        while len(self._running) < AT_ONCE and len(state.trials) < state.count:
            values = self._suggested()
            if values is None:
                state.count = len(state.trials)
                return
            trial = TriedSetting(f"setting-{len(state.trials) + 1:02d}", values)
            state.trials.append(trial)
            self.save()  # before its folder is made
            if (member := self._begin(trial)) is not None:
                yield member

    def _suggested(self) -> Mapping[str, object] | None:
        """Values that were not tried; None where there are none left."""
        trials = self.state.trials
        sound = [trial for trial in trials if trial.state != "failed"]
        tried = [KnownSetting(trial.values, trial.losses, trial.state == "done") for trial in sound]
        known = [trial.values for trial in trials]
        for draw in range(DRAWS):
            seed = self.state.config.train.seed + 1000 * draw + len(trials)
            values = suggest(self.state.space, tried, seed=seed)
            if values not in known:
                return values
        return None

    def _report(self) -> None:
        """How much of the search is done, and the time that is left for the rest."""
        state = self.state
        assert state.count is not None
        done = sum(trial.step for trial in state.trials)
        left = sum(state.steps - trial.step for trial in self._running) / 2
        left += (state.count - len(state.trials)) * SHARE * state.steps
        seconds = self.earlier + time.monotonic() - self.start
        total = max(1, round(done + left))
        remaining = seconds / done * left if done else None
        what = f"searching, {len(state.trials)} of {pluralize(state.count, 'setting')} begun"
        self.progress.report(Phase(what, done, total, remaining))

    def attached(self, trial: TriedSetting) -> PreparedRun:
        """A setting that trained to its end, in this process or an earlier one."""
        if trial.name not in self.members:
            member = self._begin(trial)
            if member is None:
                raise RunError(str(trial.why))
            for _ in train([member]):
                pass  # nothing is left: it only says why it ended
        return self.runs[trial.name]


def _with_train(config: RunConfig, changes: Mapping[str, object]) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})
