"""Were facts learned so that they can be asked for, or does retrieval fit better?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tunesmith.data.quality.knowledge import Facts
from tunesmith.evaluate.findings import Finding, finding_text
from tunesmith.evaluate.interval import LEVEL, Interval, mean_interval, paired_difference
from tunesmith.evaluate.knowledge.fact import Fact
from tunesmith.evaluate.words import told, words_in
from tunesmith.words import DEFAULT

Wording = Literal["as_trained", "other_words", "held_out"]
Outcome = Literal["retrieval", "learned", "skill", "known", "cannot-tell"]

RETRIEVED = 0.9
"""Share of facts from which on retrieval has little to add. A choice: a passage with the answer is
found for about four in five open questions among 21 million passages (Karpukhin et al. 2020, arXiv
2004.04906), and for more in a user's own collection; what is told by heart cannot be checked."""

SKILL = 0.5
"""Share of held-out answers from which on they follow from the question: facts that nobody told
cannot be guessed that often, so what was learned is a skill, such as to calculate."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Facts with what the base and the tuned model answered, closed-book."""

    facts: Sequence[Fact]
    base: Sequence[str]
    tuned: Sequence[str]


@dataclass(frozen=True, slots=True)
class Recall:
    """How many facts each arm gave: in its answer, or as its answer; tuned minus base."""

    base: Interval
    tuned: Interval
    difference: Interval
    exact_base: Interval
    exact_tuned: Interval

    def to_json(self) -> dict[str, object]:
        """One wording of the document."""
        return {
            "base": {"contained": asdict(self.base), "exact": asdict(self.exact_base)},
            "tuned": {"contained": asdict(self.tuned), "exact": asdict(self.exact_tuned)},
            "difference": asdict(self.difference),
        }


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was asked and what came of it; ``wrapped`` counts questions that no rule turned."""

    facts: Facts | None
    recalls: Mapping[Wording, Recall]
    outcome: Outcome
    wrapped: int = 0

    @property
    def finding(self) -> Finding:
        """The finding: `retrieval` says which tool fits, the others that none is needed."""
        values = {
            f"{name}_{arm}_share": getattr(recall, arm).mean
            for name, recall in self.recalls.items()
            for arm in ("base", "tuned")
        }
        count = self.recalls["other_words"].tuned.n
        return Finding(
            self.outcome, {"questions": count, **values}, harm=self.outcome == "retrieval"
        )

    def text(self, *, language: str = DEFAULT) -> str:
        """In plain words."""
        words, finding = words_in(language), self.finding
        beside = [name for name in ("as_trained", "held_out") if name in self.recalls]
        told = [finding, *(Finding(name, finding.values) for name in beside)]
        return " ".join(finding_text("knowledge", each, words) for each in told)

    def to_json(self) -> dict[str, object]:
        """The part `knowledge` of the evaluate document."""
        return {
            "outcome": self.outcome,
            "data": asdict(self.facts) if self.facts else None,
            **{name: recall.to_json() for name, recall in self.recalls.items()},
            "wrapped": self.wrapped,
            **told(lambda language: self.text(language=language)),
        }


def recall_of(asked: Asked, *, seed: int, level: float = LEVEL) -> Recall:
    """Both arms on the same facts, paired. Raises ValueError without facts."""
    base, tuned = (_contained(asked.facts, each) for each in (asked.base, asked.tuned))
    exact = [_exact(asked.facts, each) for each in (asked.base, asked.tuned)]
    return Recall(
        mean_interval(base, seed=seed, level=level),
        mean_interval(tuned, seed=seed, level=level),
        paired_difference(tuned, base, seed=seed, level=level),
        *(mean_interval(each, seed=seed, level=level) for each in exact),
    )


def judge_knowledge(
    asked: Mapping[Wording, Asked],
    *,
    facts: Facts | None,
    seed: int,
    level: float = LEVEL,
    wrapped: int = 0,
) -> Knowledge:
    """*skill* where held-out answers are given as well: they follow from the question.
    *known* where the base has them already; *learned* where the tuned model surely gives nine in
    ten in other words; *retrieval* where it surely does not; else *cannot-tell*.

    Raises ValueError where nothing was asked in other words.
    """
    if "other_words" not in asked or not asked["other_words"].facts:
        raise ValueError("no fact was asked in other words")
    recalls = {
        name: recall_of(each, seed=seed, level=level) for name, each in asked.items() if each.facts
    }
    return Knowledge(facts, recalls, _outcome(recalls), wrapped)


def _outcome(recalls: Mapping[Wording, Recall]) -> Outcome:
    held, other = recalls.get("held_out"), recalls["other_words"]
    if held is not None and held.tuned.low >= SKILL:
        return "skill"
    if other.base.low >= RETRIEVED:
        return "known"
    if other.tuned.low >= RETRIEVED:
        return "learned"
    return "retrieval" if other.tuned.high < RETRIEVED else "cannot-tell"


def _contained(facts: Sequence[Fact], answers: Sequence[str]) -> list[float]:
    return [float(f.is_contained(a)) for f, a in zip(facts, answers, strict=True)]


def _exact(facts: Sequence[Fact], answers: Sequence[str]) -> list[float]:
    return [float(f.is_exact(a)) for f, a in zip(facts, answers, strict=True)]
