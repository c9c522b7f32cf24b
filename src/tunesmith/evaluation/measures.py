"""What is measured beside the verdict: consistency, facts, overfitting, capacity."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import Progress
from tunesmith.data.dataset import RunRows
from tunesmith.evaluation.answers import Question
from tunesmith.evaluation.arms import BASE, PROMPTED, Arm, BaseArms, instruction_change
from tunesmith.evaluation.capacity import Capacity, capacity_of
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.consistency import Consistency
from tunesmith.evaluation.consistency_questions import AskedArm as Asker
from tunesmith.evaluation.consistency_questions import ConsistencyRun, Drawn
from tunesmith.evaluation.duration import Measuring
from tunesmith.evaluation.forgetting import AdapterScale, Forgetting
from tunesmith.evaluation.forgetting_scores import ProbeScores
from tunesmith.evaluation.knowledge import (
    FactSheet,
    Knowledge,
    Wording,
    ask_facts,
    fact_sheet,
    knowledge_from,
)
from tunesmith.evaluation.overfitting import Overfitting, assess_overfitting
from tunesmith.evaluation.overfitting_evidence import Answered, RowLossSample, read_run
from tunesmith.evaluation.requests import Timed
from tunesmith.runs.folder import RunFolder
from tunesmith.training.events import ScaledDown

Told = Mapping[Wording, tuple[str, ...]]  # answers to facts


class _Part(Protocol):
    """What a measure finds."""

    def to_json(self) -> dict[str, object]: ...


_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Result:
    """Who answers as tuned (adapter None: the whole model), and what it said to the questions."""

    loaded: LoadedBase
    adapter: str | None
    said: Answered
    checks: Sequence[Check]


@dataclass(slots=True)
class Shared:
    """What the base gave, for other runs over it that ask it the same, and what each of them
    loses on its training rows, by its folder.
    """

    drawn: dict[Hashable, Mapping[str, Drawn]] = field(default_factory=dict)
    facts: dict[Hashable, Told] = field(default_factory=dict)
    losses: dict[Path, Sequence[float]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Measures:
    """The measures that a config asks for, and what the base gave to them so far.

    ``folder`` is the run whose losses are read; None for a result of unknown training. What could
    not be measured, and why, is noticed. ``known`` gives what other runs over the base share with
    this one.
    """

    loaded: LoadedBase
    config: RunConfig
    rows: RunRows
    questions: Sequence[Question]
    base: BaseArms
    folder: RunFolder | None
    progress: Progress
    known: Callable[[], Shared] = Shared
    _asking: ConsistencyRun | None = field(init=False, default=None)
    _losing: RowLossSample | None = field(init=False, default=None)
    _facts: Told | None = field(init=False, default=None)
    _sheet: FactSheet | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        settings, seed = self.config.evaluate, self.config.train.seed
        if settings.consistency is not None:
            arms = 2 + (PROMPTED in self.base.arms)
            self._asking = ConsistencyRun(
                self.loaded, self.questions, settings, seed=seed, arms=arms
            )
        if self.folder is not None:
            self._losing = RowLossSample(self.loaded, self.rows)
        if settings.knowledge is not None:
            held = self.rows.held_conversations
            self._sheet = fact_sheet(self.rows.sample, held, settings.knowledge)

    def to_come(self, *, tuned: bool) -> Measuring:
        """What is still to be computed, of a result too if ``tuned``."""
        tokens = self._losing.tokens(tuned=tuned) if self._losing else 0
        facts = sum(map(len, self._sheet.questions.values())) if self._sheet else 0
        return Measuring(tokens, facts * ((self._facts is None) + tuned))

    def ask_base(self) -> None:
        """Measure the base now, as training will change it, or as it is about to go."""
        if self._asking is not None:
            self._draw_base(self._asking)
        if self._sheet is not None:
            self._facts = self._told(self.loaded, None)
        if self._losing is not None:
            phase = self.progress.phase("losses of trained and held-out rows (base)")
            self._losing.measure_base(phase=phase)

    def of(self, result: Result) -> dict[str, object]:
        """Each measure's part of the evaluate document; null where there is nothing to measure.

        One that cannot be measured is told and left out.
        """
        for each in (self._asking, self._losing):
            if each is not None:
                each.loaded = result.loaded
        capacity = self._kept("capacity", lambda: self._capacity(result))
        parts: dict[str, Callable[[], _Part | None]] = {
            "strength": self._strength,
            "consistency": lambda: self._consistency(result),
            "knowledge": lambda: self._knowledge(result),
            "overtuning": lambda: self._overtuning(result, capacity),
            "capacity": lambda: capacity,
        }
        found = {name: self._kept(name, measure) for name, measure in parts.items()}
        return {name: part.to_json() if part is not None else None for name, part in found.items()}

    def _kept(self, name: str, measure: Callable[[], _Found | None]) -> _Found | None:
        """What a measure finds; its refusal is told, and the others go on."""
        try:
            return measure()
        except TunesmithError as error:
            self.progress.notice("measures", f"{name} was not measured: {error}")
            return None

    def _base_arms(self) -> dict[str, Asker]:
        arms = {BASE: Asker()}
        if PROMPTED in self.base.arms and self.base.instruction is not None:
            change = instruction_change(self.loaded, self.base.instruction)
            arms[PROMPTED] = Asker(prepare=change)
        return arms

    def _draw_base(self, asking: ConsistencyRun) -> None:
        """What the base says when it is asked again, unless that is known."""
        drawn, key = self.known().drawn, self._key
        asking.drawn.update(drawn.get(key, {}))
        for name, arm in self._base_arms().items():
            if name not in asking.drawn:
                self._draw(asking, name, arm)
        drawn[key] = dict(asking.drawn)

    @property
    def _key(self) -> Hashable:
        """What the base's part depends on."""
        settings = self.config.evaluate.model_dump_json()
        return settings, self.config.train.seed, tuple(self.questions)

    def _draw(self, asking: ConsistencyRun, name: str, arm: Asker) -> None:
        asking.draw(name, arm, phase=self.progress.phase(f"asking again ({name})"))

    def _strength(self) -> AdapterScale | None:
        """At which share of its strength the run's result stands, where that was tried."""
        found = self.folder.last(ScaledDown) if self.folder else None
        return AdapterScale(**found) if found else None  # type: ignore[arg-type]

    def _consistency(self, result: Result) -> Consistency | None:
        if self._asking is None:
            return None
        self._draw_base(self._asking)
        self._draw(self._asking, TUNED, Asker(adapter=result.adapter))
        return self._asking.judged(result.checks)

    def _told(self, loaded: LoadedBase, adapter: str | None) -> dict[Wording, tuple[str, ...]]:
        assert self._sheet is not None
        assert self.config.evaluate.knowledge is not None
        who = TUNED if adapter else BASE
        return ask_facts(
            loaded,
            self._sheet,
            self.config.evaluate.knowledge,
            adapter=adapter,
            phase=self.progress.phase(f"asking facts in other words ({who})"),
        )

    def _knowledge(self, result: Result) -> Knowledge | None:
        if self._sheet is None:
            return None
        facts, key = self.known().facts, (self._key, repr(self._sheet))
        base = self._facts or facts.get(key) or self._told(self.loaded, None)
        facts[key] = base
        tuned = self._told(result.loaded, result.adapter)
        return knowledge_from(self._sheet, base, tuned, seed=self.config.train.seed)

    def _capacity(self, result: Result) -> Capacity | None:
        return capacity_of(result.loaded.engine, result.adapter) if result.adapter else None

    def _overtuning(self, result: Result, capacity: Capacity | None) -> Overfitting | None:
        if self._losing is None or self.folder is None:
            return None
        config, width = self.config, result.loaded.engine.model.config.hidden_size
        run = read_run(self.folder, config.method, width=width, seed=config.train.seed)
        evidence = self._losing.evidence(
            result.adapter,
            run=run,
            answered=result.said,
            capacity=capacity,
            phase=self.progress.phase("losses of trained and held-out rows"),
        )
        if self._losing.tuned is not None:
            self.known().losses[self.folder.path] = self._losing.tuned.train
        return assess_overfitting(evidence, run.choice)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is judged: an adapter (None: the whole model) over a base, and the hash of both.

    ``forgetting`` is what it forgot, where that was measured already.
    """

    loaded: LoadedBase
    adapter: str | None
    participant: str
    training_seconds: float | None = None
    forgetting: Forgetting | None = None


@dataclass(slots=True)
class Known:
    """What was measured of the base, for other runs over it that measure the same.

    Answers need no such place: those of all runs are in the cache.
    """

    scores: dict[ForgettingSettings, ProbeScores] = field(default_factory=dict)
    timed: dict[tuple[Arm, int], Timed] = field(default_factory=dict)
    measures: Shared = field(default_factory=Shared)
