"""Facts of the training rows asked closed-book, in other words, and facts that no row told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.config.knowledge import KnowledgeSettings
from tunesmith.data.quality.knowledge import FEWEST_ROWS, Facts, measure
from tunesmith.data.quality.sample import Sampled
from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluate.given_rows import read_facts
from tunesmith.evaluate.knowledge.fact import Fact, fact_of
from tunesmith.evaluate.knowledge.judge import Asked, Knowledge, Wording, judge_knowledge
from tunesmith.evaluate.knowledge.reworded import reworded
from tunesmith.generate.sampling import Sampling
from tunesmith.workflows.drawing import Asked as Prompted
from tunesmith.workflows.drawing import answers_to
from tunesmith.workflows.opening import Opened

GoOn = Callable[[int, int], bool]  # told what is done, of how much; False stops


@dataclass(frozen=True, slots=True)
class FactQuestion:
    """A fact, and the messages that ask for it in some words."""

    fact: Fact
    messages: tuple[Message, ...]
    turned: bool = True


@dataclass(frozen=True, slots=True)
class FactSheet:
    """What is asked, and how much of a fact the training answers look like; ``wrapped`` counts
    questions that no rule could turn, so that they only stand in a frame of other words.
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
    stands before it. Questions of a file are asked behind no system prompt but the rows' own.
    Raises FaultyData for a faulty file.
    """
    rows = [each for each in trained if _is_one_turn(each)]
    looks = _looks(rows)
    told = _spread([f for row in rows if (f := _question(row))], settings.rows)
    if settings.questions is not None:
        before = rows[0].messages[:-2] if rows else ()
        given = [
            FactQuestion(fact, (*before, Message("user", query)))
            for query, answer in read_facts(Path(settings.questions))
            if (fact := fact_of(query, answer))
        ]
        other = _spread(given, settings.rows)
    elif looks is not None and looks.are_knowledge:
        other = tuple(_in_other_words(each) for each in told)
    else:
        return None
    unseen = [f for row in held if _is_one_turn(row) and (f := _question(row))]
    if not other:
        return None
    sets: dict[Wording, tuple[FactQuestion, ...]] = {"other_words": other}
    sets["as_trained"] = told
    sets["held_out"] = _spread(unseen, settings.rows)
    return FactSheet(looks, {name: each for name, each in sets.items() if each})


def ask_facts(
    opened: Opened,
    sheet: FactSheet,
    settings: KnowledgeSettings,
    *,
    adapter: str | None,
    go_on: GoOn = lambda _done, _total: True,
) -> dict[Wording, tuple[str, ...]] | None:
    """One arm's greedy answers to every question; None where ``go_on`` says no before the end."""
    flat = [(name, each) for name, part in sheet.questions.items() for each in part]
    texts = answers_to(
        opened,
        [Prompted(each.messages) for _, each in flat],
        adapter=adapter,
        sampling=Sampling(max_new_tokens=settings.max_new_tokens),
        seed=0,
        go_on=lambda done: go_on(done, len(flat)),
    )
    if texts is None:
        return None
    pairs = list(zip(flat, texts, strict=True))
    return {
        name: tuple(text for (own, _), text in pairs if own == name) for name in sheet.questions
    }


def knowledge_from(
    sheet: FactSheet,
    base: Mapping[Wording, tuple[str, ...]],
    tuned: Mapping[Wording, tuple[str, ...]],
    *,
    seed: int,
) -> Knowledge:
    """Both arms' answers judged."""
    asked = {
        name: Asked([each.fact for each in part], base[name], tuned[name])
        for name, part in sheet.questions.items()
    }
    return judge_knowledge(asked, facts=sheet.facts, seed=seed, wrapped=sheet.wrapped)


def _is_one_turn(row: Conversation) -> bool:
    """Whether it is one question and one answer, tools and texts aside."""
    roles = [message.role for message in row.messages if message.role != "system"]
    return roles == ["user", "assistant"] and not row.tools and bool(row.supervised)


def _question(row: Conversation) -> FactQuestion | None:
    *before, answer = row.messages
    fact = fact_of(before[-1].content, answer.content)
    return None if fact is None else FactQuestion(fact, tuple(before))


def _looks(rows: Sequence[Conversation]) -> Facts | None:
    """How much of a fact the answers look like; None of too few rows."""
    if len(rows) < FEWEST_ROWS:
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


def _spread(questions: Sequence[FactQuestion], most: int) -> tuple[FactQuestion, ...]:
    """At most so many, evenly spread."""
    count = min(len(questions), most)
    return tuple(questions[i * len(questions) // count] for i in range(count))
