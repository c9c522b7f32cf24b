"""Were facts learned so that they can be asked for, or does retrieval fit better?"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.evaluate import KnowledgeSettings
from tunesmith.core.phrases import Phrases
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.quality.distribution import Sampled
from tunesmith.data.quality.text import bare, fold, words
from tunesmith.data.quality.unsuitable import MIN_ROWS, Facts, measure, names_told
from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluation.answering import UNKNOWN_BASE, DrawRequest, Respondent, answers_to
from tunesmith.evaluation.answers import spread
from tunesmith.evaluation.findings import Described, Finding, findings_text
from tunesmith.evaluation.given_rows import FactRow, read_given
from tunesmith.evaluation.intervals import Interval, mean_interval, paired_difference
from tunesmith.evaluation.paraphrases import reworded
from tunesmith.generation.sampling import Sampling

_HANGUL = re.compile("[\uac00-\ud7a3]")
# Words that say no fact, of answers that are one sentence about it.
_FUNCTION = frozenset(
    re.split(
        " ",
        "a an the of in on at to by for with from and or is are was were be been it its this that "
        "he she they his her their who whom which what when where there as has have had",
    )
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A question and its answer; ``words`` are those of the answer that the question lacks and
    that must be known: its names and numbers, else all words of it that carry meaning.
    """

    question: str
    answer: str
    words: frozenset[str]

    def is_exact(self, answer: str) -> bool:
        """Whether an answer is the same but for case and punctuation."""
        return bare(fold(answer)) == bare(fold(self.answer))

    def is_contained(self, answer: str) -> bool:
        """Whether an answer holds every word of the fact, in any order.

        Words in Hangul may be followed by a particle.
        """
        said = words(bare(fold(answer)))
        text, known = " ".join(said), set(said)
        return all(word in (text if _HANGUL.search(word) else known) for word in self.words)


def fact_of(question: str, answer: str) -> Fact | None:
    """The fact of a row; None where the answer says nothing that the question does not."""
    asked = set(words(bare(fold(question))))
    others = [word for word in words(bare(fold(answer))) if word not in asked]
    names = {part for name in names_told(question, answer) for part in words(bare(fold(name)))}
    key = (names - asked) or {word for word in others if word not in _FUNCTION}
    return Fact(question, answer, frozenset(key)) if key - {""} else None


Wording = Literal["as_trained", "other_words", "held_out"]
FactAnswers = Mapping[Wording, tuple[str, ...]]  # of one arm
Outcome = Literal["retrieval", "learned", "skill", "known", "cannot-tell"]

RETRIEVED = 0.9
"""Share of facts from which on retrieval has little to add. A choice: a passage with the answer is
found for about four in five open questions among 21 million passages (Karpukhin et al. 2020, arXiv
2004.04906), and for more in a user's own collection; what is memorized cannot be checked."""

SKILL = 0.5
"""Share of held-out answers from which on they follow from the question: facts that were not
trained cannot be guessed that often, so what was learned is a skill, such as to calculate."""


@dataclass(frozen=True, slots=True)
class ArmRecall:
    """The share of facts that an arm gave in its answer, and as its answer."""

    contained: Interval
    exact: Interval


@dataclass(frozen=True, slots=True)
class Recall:
    """Both arms, and tuned minus base of what their answers contain."""

    base: ArmRecall
    tuned: ArmRecall
    difference: Interval


@dataclass(frozen=True, slots=True)
class Knowledge(Described):
    """What was asked and what came of it; ``wrapped`` counts questions that no rule turned."""

    facts: Facts | None
    recalls: Mapping[Wording, Recall]
    outcome: Outcome
    wrapped: int = 0

    @property
    def finding(self) -> Finding:
        """The finding: `retrieval` names the tool that fits, the others that none is needed."""
        values = {
            f"{name}_{arm}_share": getattr(recall, arm).contained.mean
            for name, recall in self.recalls.items()
            for arm in ("base", "tuned")
        }
        count = self.recalls["other_words"].tuned.contained.n
        return Finding(
            self.outcome, {"questions": count, **values}, harm=self.outcome == "retrieval"
        )

    def describe(self, words: Phrases) -> str:
        """The findings in words."""
        finding = self.finding
        beside = [name for name in ("as_trained", "held_out") if name in self.recalls]
        found = [finding, *(Finding(name, finding.values) for name in beside)]
        return findings_text("knowledge", found, words)

    def values(self) -> Mapping[str, object]:
        """The part `knowledge` of the evaluate document."""
        return {
            "outcome": self.outcome,
            "data": asdict(self.facts) if self.facts else None,
            **{name: asdict(recall) for name, recall in self.recalls.items()},
            "wrapped": self.wrapped,
        }


def recall_of(
    facts: Sequence[Fact], base: Sequence[str], tuned: Sequence[str], *, seed: int
) -> Recall:
    """Both arms' answers to the same facts, paired. Raises ValueError without facts."""

    def shares(rule: Callable[[Fact, str], bool], answers: Sequence[str]) -> list[float]:
        return [float(rule(fact, answer)) for fact, answer in zip(facts, answers, strict=True)]

    before, after = shares(Fact.is_contained, base), shares(Fact.is_contained, tuned)
    exact = [mean_interval(shares(Fact.is_exact, each), seed=seed) for each in (base, tuned)]
    return Recall(
        ArmRecall(mean_interval(before, seed=seed), exact[0]),
        ArmRecall(mean_interval(after, seed=seed), exact[1]),
        paired_difference(after, before, seed=seed),
    )


def assess_knowledge(
    recalls: Mapping[Wording, Recall], *, facts: Facts | None, wrapped: int = 0
) -> Knowledge:
    """*skill* where held-out answers are given as well: they follow from the question.
    *known* where the base has them already; *learned* where the tuned model surely gives nine in
    ten in other words; *retrieval* where it surely does not; else *cannot-tell*.

    Raises ValueError where nothing was asked in other words.
    """
    if "other_words" not in recalls:
        raise ValueError("no fact was asked in other words")
    return Knowledge(facts, recalls, _outcome(recalls), wrapped)


def _outcome(recalls: Mapping[Wording, Recall]) -> Outcome:
    held, other = recalls.get("held_out"), recalls["other_words"]
    tuned = other.tuned.contained
    if held is not None and held.tuned.contained.low >= SKILL:
        return "skill"
    if other.base.contained.low >= RETRIEVED:
        return "known"
    if tuned.low >= RETRIEVED:
        return "learned"
    return "retrieval" if tuned.high < RETRIEVED else "cannot-tell"


@dataclass(frozen=True, slots=True)
class FactQuestion:
    """A fact, and the messages that ask for it in some words."""

    fact: Fact
    messages: tuple[Message, ...]
    turned: bool = True


@dataclass(frozen=True, slots=True)
class FactSheet:
    """What is asked, and how much the training answers look like facts; ``wrapped`` counts
    questions that no rule could reword, so that only words around them are new.
    """

    facts: Facts | None
    questions: dict[Wording, tuple[FactQuestion, ...]]

    @property
    def wrapped(self) -> int:
        """Of those in other words."""
        return sum(not each.turned for each in self.questions["other_words"])


def fact_sheet(
    trained: Sequence[Conversation], held: Sequence[Conversation], settings: KnowledgeSettings
) -> FactSheet | None:
    """What to ask; None where the training answers do not look like facts and no file is given.

    ``trained`` and ``held`` are conversations of either side; those of one turn count, with what
    precedes it. Questions of a file are asked after no system prompt but the rows' own.
    Raises FaultyData for a faulty file.
    """
    rows = [each for each in trained if _is_one_turn(each)]
    looks = _looks(rows)
    trained_questions = tuple(spread(_questions(rows), settings.rows))
    if settings.questions is not None:
        before = rows[0].messages[:-2] if rows else ()
        given = [
            FactQuestion(fact, (*before, Message("user", row.query)))
            for row in read_given(Path(settings.questions), FactRow)
            if (fact := fact_of(row.query, row.answer))
        ]
        other = tuple(spread(given, settings.rows))
    elif looks is not None and looks.are_knowledge:
        other = tuple(_in_other_words(each) for each in trained_questions)
    else:
        return None
    if not other:
        return None
    unseen = _questions([row for row in held if _is_one_turn(row)])
    sets: dict[Wording, tuple[FactQuestion, ...]] = {
        "other_words": other,
        "as_trained": trained_questions,
        "held_out": tuple(spread(unseen, settings.rows)),
    }
    return FactSheet(looks, {name: each for name, each in sets.items() if each})


def ask_facts(
    loaded: LoadedBase,
    sheet: FactSheet,
    settings: KnowledgeSettings,
    *,
    who: Respondent = UNKNOWN_BASE,
    phase: PhaseProgress = UNSEEN,
) -> FactAnswers:
    """One arm's greedy answers to every question."""
    texts = answers_to(
        loaded,
        [DrawRequest(each.messages) for part in sheet.questions.values() for each in part],
        who=who,
        sampling=Sampling(max_new_tokens=settings.max_new_tokens),
        seed=0,
        phase=phase,
    )
    left = iter(texts)
    return {name: tuple(islice(left, len(part))) for name, part in sheet.questions.items()}


def knowledge_from(
    sheet: FactSheet, base: FactAnswers, tuned: FactAnswers, *, seed: int
) -> Knowledge:
    """Both arms' answers assessed."""
    recalls = {
        name: recall_of([each.fact for each in part], base[name], tuned[name], seed=seed)
        for name, part in sheet.questions.items()
    }
    return assess_knowledge(recalls, facts=sheet.facts, wrapped=sheet.wrapped)


def _is_one_turn(row: Conversation) -> bool:
    """Whether it is one question and one answer, tools and texts aside."""
    roles = [message.role for message in row.messages if message.role != "system"]
    return roles == ["user", "assistant"] and not row.tools and bool(row.supervised)


def _questions(rows: Sequence[Conversation]) -> list[FactQuestion]:
    """Of rows of one turn, those that state a fact."""
    return [
        FactQuestion(fact, row.messages[:-1])
        for row in rows
        if (fact := fact_of(row.messages[-2].content, row.messages[-1].content))
    ]


def _looks(rows: Sequence[Conversation]) -> Facts | None:
    """How much the answers look like facts; None of too few rows."""
    if len(rows) < MIN_ROWS:
        return None
    sampled = [
        Sampled(i, row.messages[-2].content, row.messages[-1].content) for i, row in enumerate(rows)
    ]
    return measure(sampled)


def _in_other_words(question: FactQuestion) -> FactQuestion:
    said = reworded(question.fact.question)
    *before, last = question.messages
    messages = (*before, replace(last, content=said.text))
    return replace(question, messages=messages, turned=said.turned)
