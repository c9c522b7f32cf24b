"""What is measured beside the verdict: consistency, facts, overfitting, capacity."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from torch import Tensor

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import Progress
from tunesmith.data.dataset import RunRows
from tunesmith.data.rows import TokenRow
from tunesmith.evaluation.answering import Respondent, fingerprint
from tunesmith.evaluation.answers import Question
from tunesmith.evaluation.arms import Arm, BaseArms, instruction_change
from tunesmith.evaluation.capacity import Capacity, capacity_of
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.comparison import BASE, PROMPTED, TUNED
from tunesmith.evaluation.consistency_questions import AskedArm, ConsistencyRun, Drawn
from tunesmith.evaluation.costs import Timed
from tunesmith.evaluation.duration import Again, AnswersToCome, expected_length, to_answer
from tunesmith.evaluation.findings import Described
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.knowledge import (
    FactAnswers,
    FactSheet,
    ask_facts,
    fact_sheet,
    knowledge_from,
)
from tunesmith.evaluation.overfitting import Overfitting, assess_overfitting
from tunesmith.evaluation.overfitting_evidence import (
    Answered,
    ArmLosses,
    RowSample,
    SideLosses,
    TrainingHistory,
    evidence_of,
    sample_rows,
)
from tunesmith.evaluation.probe_run import ProbeScores


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is evaluated: an adapter (None: the whole model) over a base, and the hash of both.

    ``forgetting`` is what it forgot, where that was measured already; ``history`` that of its
    training, where this run trained it.
    """

    loaded: LoadedBase
    adapter: str | None
    participant: str
    training_seconds: float | None = None
    forgetting: Forgetting | None = None
    history: TrainingHistory | None = None

    @property
    def who(self) -> Respondent:
        """Under what it answers."""
        return Respondent(self.adapter, self.participant)


@dataclass(slots=True)
class KnownBase:
    """A base and what was measured of it, for all runs over it that measure the same.

    Answers need no such place: those of all runs are in the cache.
    """

    loaded: LoadedBase
    scores: dict[ForgettingSettings, ProbeScores] = field(default_factory=dict)
    timed: dict[tuple[Arm, int], Timed] = field(default_factory=dict)
    drawn: dict[Hashable, dict[str, Drawn]] = field(default_factory=dict)
    facts: dict[Hashable, FactAnswers] = field(default_factory=dict)
    retained: dict[Hashable, tuple[tuple[TokenRow, ...], tuple[Tensor, ...]]] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What the model computed for the measures of a result; None where one was not measured."""

    drawn: Mapping[str, Drawn] | None
    facts: tuple[FactAnswers, FactAnswers] | None  # of base and tuned
    losses: ArmLosses | None
    capacity: Capacity | None


_Found = TypeVar("_Found")


@dataclass(slots=True, kw_only=True)
class Measures:
    """The measures that a config asks for.

    ``has_history``: the run's own training is known, so that its losses say something. What could
    not be measured, and why, is noticed.
    """

    known: KnownBase
    config: RunConfig
    rows: RunRows
    questions: Sequence[Question]
    arms: BaseArms
    has_history: bool
    progress: Progress
    _consistency: ConsistencyRun | None = field(init=False, default=None)
    _sample: RowSample | None = field(init=False, default=None)
    _base_losses: SideLosses | None = field(init=False, default=None)
    _sheet: FactSheet | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        settings, seed = self.config.evaluate, self.config.train.seed
        if not self.questions:
            return
        if settings.consistency is not None:
            arms = 2 + (PROMPTED in self.arms.arms)
            self._consistency = ConsistencyRun(self.questions, settings, seed=seed, arms=arms)
        if self.has_history:
            self._sample = sample_rows(self.rows, settings.rows)
        if settings.knowledge is not None:
            held = self.rows.held_conversations
            self._sheet = fact_sheet(self.rows.sample, held, settings.knowledge)

    def tokens_to_come(self, *, tuned: bool) -> int:
        """Tokens of rows whose losses are still to be measured, of a result too if ``tuned``."""
        arms = (self._base_losses is None) + tuned
        return arms * self._sample.tokens if self._sample else 0

    def facts_to_come(self, base: Arm, own: float, *, tuned: bool) -> list[AnswersToCome]:
        """Answers about facts that are still to be made, to prompts about as long as ``base``'s.

        ``own``: tokens of the data's answers.
        """
        settings = self.config.evaluate.knowledge
        if self._sheet is None or settings is None:
            return []
        count, longest = sum(map(len, self._sheet.questions.values())), settings.max_new_tokens
        prompts = [base.prompts[i % len(base.prompts)] for i in range(count)]
        arms = [BASE] * (self._facts_key not in self.known.facts) + [TUNED] * tuned
        lengths = [expected_length(name, own, longest) for name in arms]
        return [to_answer(prompts, length, longest=longest) for length in lengths]

    def again_to_come(self, arms: Mapping[str, Arm], lengths: Mapping[str, float]) -> list[Again]:
        """Questions that these arms are still to be asked again, with expected answers' tokens."""
        if (run := self._consistency) is None:
            return []
        known = self.known.drawn.get(self._key, {})
        asked = [name for name, _ in self._base_arms() if name not in known]
        asked += [TUNED] * (TUNED in arms)
        return [run.to_come(arms[name].prompts, lengths[name]) for name in asked]

    def measure_base(self) -> None:
        """Measure the base now, as training will change it, or before it is unloaded."""
        if self._consistency is not None:
            self._draw_base(self._consistency)
        if self._sheet is not None:
            self._base_facts(self._sheet)
        if self._sample is not None:
            self._base_losses = self._losses_of_base(self._sample, self.known.loaded)

    def measure(self, tuned: Tuned) -> Measured:
        """All that needs the model. A measure that is refused is noticed, and the others follow."""
        kept = self._kept
        engine, adapter = tuned.loaded.engine, tuned.adapter
        return Measured(
            kept("consistency", lambda: self._drawn(tuned)),
            kept("knowledge", lambda: self._facts(tuned)),
            kept("overfitting", lambda: self._losses(tuned)),
            kept("capacity", lambda: capacity_of(engine, adapter)) if adapter else None,
        )

    def assess(
        self, found: Measured, answered: Answered, checks: Sequence[Check], tuned: Tuned
    ) -> dict[str, object]:
        """Each measure's part of the evaluate document; null where there is nothing to measure.

        ``checks`` are fitted by now.
        """
        history, seed = tuned.history, self.config.train.seed
        parts: dict[str, Callable[[], Described | None]] = {
            "scale": lambda: history.scale if history else None,
            "capacity": lambda: found.capacity,
        }
        if self._consistency and found.drawn:
            parts["consistency"] = partial(self._consistency.assess, found.drawn, checks)
        if self._sheet and found.facts:
            parts["knowledge"] = partial(knowledge_from, self._sheet, *found.facts, seed=seed)
        if history and found.losses:
            parts["overfitting"] = lambda: self._overfitting(found, answered, history)
        made = {name: self._kept(name, part) for name, part in parts.items()}
        return {name: part.to_json() for name, part in made.items() if part is not None}

    def _kept(self, name: str, measure: Callable[[], _Found | None]) -> _Found | None:
        """What a measure finds; its refusal is noticed, and the others follow."""
        try:
            return measure()
        except TunesmithError as error:
            self.progress.notice("measures", f"{name} was not measured: {error}")
            return None

    @property
    def _base(self) -> Respondent:
        return Respondent(None, fingerprint(self.known.loaded.base))

    def _base_arms(self) -> Iterator[tuple[str, AskedArm]]:
        yield BASE, AskedArm(self._base)
        if PROMPTED in self.arms.arms and self.arms.instruction is not None:
            change = instruction_change(self.known.loaded, self.arms.instruction)
            yield PROMPTED, AskedArm(self._base, change)

    @property
    def _key(self) -> Hashable:
        """What the base's part depends on; as text, since tools and calls have no hash."""
        settings = self.config.evaluate.model_dump_json()
        return settings, self.config.train.seed, repr(list(self.questions))

    @property
    def _facts_key(self) -> Hashable:
        return self._key, repr(self._sheet)

    def _draw_base(self, run: ConsistencyRun) -> Mapping[str, Drawn]:
        """What the base answers when it is asked again, unless that is known."""
        drawn = self.known.drawn.setdefault(self._key, {})
        for name, arm in self._base_arms():
            if name not in drawn:
                phase = self.progress.phase(f"asking again ({name})")
                drawn[name] = run.draw(self.known.loaded, arm, phase=phase)
        return drawn

    def _drawn(self, tuned: Tuned) -> Mapping[str, Drawn] | None:
        if (run := self._consistency) is None:
            return None
        base, phase = self._draw_base(run), self.progress.phase(f"asking again ({TUNED})")
        return {**base, TUNED: run.draw(tuned.loaded, AskedArm(tuned.who), phase=phase)}

    def _ask_facts(
        self, sheet: FactSheet, loaded: LoadedBase, who: Respondent, name: str
    ) -> FactAnswers:
        assert self.config.evaluate.knowledge is not None
        phase = self.progress.phase(f"asking facts in other words ({name})")
        return ask_facts(loaded, sheet, self.config.evaluate.knowledge, who=who, phase=phase)

    def _base_facts(self, sheet: FactSheet) -> FactAnswers:
        facts, key = self.known.facts, self._facts_key
        if key not in facts:
            facts[key] = self._ask_facts(sheet, self.known.loaded, self._base, BASE)
        return facts[key]

    def _facts(self, tuned: Tuned) -> tuple[FactAnswers, FactAnswers] | None:
        if (sheet := self._sheet) is None:
            return None
        base = self._base_facts(sheet)
        return base, self._ask_facts(sheet, tuned.loaded, tuned.who, TUNED)

    def _losses_of_base(self, sample: RowSample, loaded: LoadedBase) -> SideLosses | None:
        phase = self.progress.phase("losses of trained and held-out rows (base)")
        return sample.base_losses(loaded, phase=phase)

    def _losses(self, tuned: Tuned) -> ArmLosses | None:
        """Of the whole model only where the base was measured before, or not at all."""
        if self._sample is None:
            return None
        if tuned.adapter is not None and self._base_losses is None:
            self._base_losses = self._losses_of_base(self._sample, tuned.loaded)
        phase = self.progress.phase("losses of trained and held-out rows")
        now = self._sample.losses(tuned.loaded, tuned.who, phase=phase)
        return ArmLosses(now, self._base_losses)

    def _overfitting(
        self, found: Measured, answered: Answered, history: TrainingHistory
    ) -> Overfitting:
        assert found.losses is not None
        evidence = evidence_of(
            self.rows,
            history,
            found.losses,
            answered=answered,
            capacity=found.capacity,
            seed=self.config.train.seed,
        )
        return assess_overfitting(evidence, history.choice)
