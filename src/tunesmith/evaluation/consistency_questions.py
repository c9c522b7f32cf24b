"""Asking again: samples at a temperature and other wordings, for one arm after the other."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import EvaluateSettings
from tunesmith.config.evaluate import ConsistencySettings
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.quality.text import fold
from tunesmith.data.rows import Message
from tunesmith.evaluation.answering import UNKNOWN_BASE, DrawRequest, Respondent, answers_to
from tunesmith.evaluation.answers import Question, spread
from tunesmith.evaluation.checks.check import Case, Check
from tunesmith.evaluation.checks.label import label_of
from tunesmith.evaluation.checks.similarity import load_meanings
from tunesmith.evaluation.consistency import (
    AnswerComparison,
    Consistency,
    Meaning,
    assess_consistency,
)
from tunesmith.evaluation.duration import Again, to_answer
from tunesmith.evaluation.paraphrases import paraphrases, read_wordings
from tunesmith.evaluation.score_cache import NOTHING_KEPT, name_of, open_scores
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling

ROUND = 8  # questions that are asked together: enough to fill a batch, few enough to cancel soon

Given = Mapping[str, Sequence[str]]  # folded question -> other wordings that a user gave
Texts = tuple[tuple[str, ...], ...]  # question -> its answers
Prepare = Callable[[tuple[Message, ...]], tuple[Message, ...]]


def _as_it_is(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages


@dataclass(frozen=True, slots=True)
class AskedArm:
    """Who answers, and how a request is put to it."""

    who: Respondent = UNKNOWN_BASE
    prepare: Prepare = _as_it_is


@dataclass(frozen=True, slots=True)
class Drawn:
    """One arm's answers to the first questions: drawn ones, and greedy ones to every wording.

    A question in ``wordings`` is answered in its own words first, then in other words.
    """

    samples: Texts
    wordings: Texts

    @property
    def texts(self) -> Iterator[str]:
        """All answers."""
        yield from (text for group in (*self.samples, *self.wordings) for text in group)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How long an answer may be, how long an arm may take, and where its randomness comes from."""

    max_new_tokens: int
    seconds: float
    seed: int
    now: Callable[[], float] = time.monotonic


class ConsistencyRun:
    """The questions of one evaluation that are asked again, of any arm at any time.

    An arm that training changes (the base of `full`) is drawn before, the others after it.
    """

    def __init__(
        self, questions: Sequence[Question], settings: EvaluateSettings, *, seed: int, arms: int = 2
    ) -> None:
        """``arms`` share the time. Raises FaultyData for a faulty file of wordings, and ValueError
        where consistency is turned off.
        """
        if settings.consistency is None:
            raise ValueError("evaluate.consistency is none: there is nothing to ask again")
        self._settings, self._seed, self.settings = settings, seed, settings.consistency
        path = self.settings.paraphrases_from
        given = read_wordings(Path(path)) if path is not None else {}
        self.asked = again(questions, self.settings, given)
        self._unused = len(given.keys() - {fold(group[0].text) for group in self.asked})
        seconds = 60 * self.settings.minutes / arms
        self._drawing = Drawing(settings.longest_answer, seconds, seed)

    def draw(self, loaded: LoadedBase, arm: AskedArm, *, phase: PhaseProgress = UNSEEN) -> Drawn:
        """Ask one arm."""
        return draw_again(
            loaded, self.asked, self.settings, arm=arm, draw=self._drawing, phase=phase
        )

    def to_come(self, prompts: Sequence[Prompt], length: float) -> Again:
        """What asking an arm takes whose ``prompts`` are these, and answers about so long."""
        longest, samples = self._settings.longest_answer, self.settings.samples
        chosen = list(spread(prompts, self.settings.rows))
        rounds = []
        for start in range(0, len(self.asked), ROUND):
            own = chosen[start : start + ROUND]
            groups = zip(own, self.asked[start : start + ROUND], strict=True)
            worded = [p for p, group in groups if len(group) > 1 for _ in group]
            hot = to_answer(own, length, longest=longest, times=samples)
            cold = to_answer(worded, length, longest=longest)
            rounds.append([answers for answers in (hot, cold) if answers.prompts])
        return Again(rounds, self._drawing.seconds)

    def assess(self, drawn: Mapping[str, Drawn], checks: Sequence[Check]) -> Consistency:
        """Every arm under the first of ``checks``, which are fitted by then.

        Where time was up for an arm, the questions that every arm answered count. Raises ModelError
        where the embedding model that is asked for cannot be loaded.
        """
        asked, settings = self.asked, self.settings
        reached = min((len(each.samples) for each in drawn.values()), default=0)
        several = [i for i in range(reached) if len(asked[i]) > 1]
        samples = {arm: _cases(asked, each.samples, range(reached)) for arm, each in drawn.items()}
        worded = {arm: _cases(asked, each.wordings, several) for arm, each in drawn.items()}
        by = AnswerComparison(
            checks[0] if checks else None,
            label_of(self._settings.checks),
            _meaning(settings, [text for each in drawn.values() for text in each.texts]),
        )
        notes = []
        if reached < len(asked):
            notes.append(
                f"time was up after {pluralize(reached, 'question')} of {len(asked):,} "
                "(evaluate.consistency.minutes)"
            )
        if 0 < len(several) < reached:
            few = pluralize(reached - len(several), "question")
            notes.append(f"{few} could not be put in other words")
        if self._unused:
            few = pluralize(self._unused, "question")
            notes.append(f"{few} of {settings.paraphrases_from} not asked")
        return assess_consistency(
            samples if settings.samples else {},
            worded,
            by,
            temperature=settings.temperature,
            seed=self._seed,
            notes=notes,
        )


def again(
    questions: Sequence[Question], settings: ConsistencySettings, given: Given | None = None
) -> list[tuple[Question, ...]]:
    """The questions that are asked again, evenly spread, each followed by its other wordings.

    Wordings that a user gave come before those that rules make.
    """
    chosen = spread(questions, settings.rows)
    return [(each, *_reworded(each, settings, given or {})) for each in chosen]


def _reworded(question: Question, settings: ConsistencySettings, given: Given) -> list[Question]:
    if question.messages[-1].role != "user":  # the result of a tool has no other wording
        return []
    texts = [
        *given.get(fold(question.text), ()),
        *paraphrases(question.text, limit=settings.paraphrases),
    ]
    last = question.messages[-1]
    return [
        replace(question, messages=(*question.messages[:-1], replace(last, content=text)))
        for text in dict.fromkeys(texts)
        if text != question.text
    ]


def draw_again(
    loaded: LoadedBase,
    asked: Sequence[tuple[Question, ...]],
    settings: ConsistencySettings,
    *,
    arm: AskedArm,
    draw: Drawing,
    phase: PhaseProgress = UNSEEN,
) -> Drawn:
    """One arm's answers to what `again` chose, in rounds, until the time is up.

    At least one round is done. Which questions are reached depends on the time, an answer does
    not: it is drawn with random numbers of its question and its number.
    """
    spent, count = 0.0, settings.samples
    hot = Sampling(temperature=settings.temperature, max_new_tokens=draw.max_new_tokens)
    cold = Sampling(max_new_tokens=draw.max_new_tokens)
    answers = partial(answers_to, loaded, who=arm.who, seed=draw.seed)
    print_ = arm.who.fingerprint
    rounds = NOTHING_KEPT if print_ is None else open_scores(print_)
    samples: list[tuple[str, ...]] = []
    wordings: list[tuple[str, ...]] = []
    for start in range(0, len(asked), ROUND):
        if start and spent >= draw.seconds:
            break
        began = draw.now()
        part = asked[start : start + ROUND]
        sampled = [
            _asked(question, arm, draw=(start + i) * count + k)
            for i, (question, *_) in enumerate(part)
            for k in range(count)
        ]
        worded = [_asked(each, arm) for group in part for each in group if len(group) > 1]
        at_random = iter(answers(sampled, sampling=hot))
        greedy = iter(answers(worded, sampling=cold))
        samples += [tuple(islice(at_random, count)) for _ in part]
        wordings += [tuple(next(greedy) for _ in group if len(group) > 1) for group in part]
        # A round that was answered before counts by what it took then.
        name = name_of("round", repr((sampled, worded, hot, draw.seed)))
        spent += rounds.scored(name, partial(list, [draw.now() - began]))[0]
        phase.at(start + len(part), len(asked))
    return Drawn(tuple(samples), tuple(wordings))


def _asked(question: Question, arm: AskedArm, *, draw: int | None = None) -> DrawRequest:
    return DrawRequest(arm.prepare(question.messages), question.tools, draw)


def _cases(
    asked: Sequence[tuple[Question, ...]], texts: Texts, numbers: Iterable[int]
) -> list[list[Case]]:
    """Answers of some questions, each with what it is scored by: the question's own wording."""
    return [
        [Case(text, asked[i][0].reference, asked[i][0].text) for text in texts[i]] for i in numbers
    ]


def _meaning(settings: ConsistencySettings, texts: Sequence[str]) -> Meaning | None:
    if settings.meaning is None:
        return None
    meanings = load_meanings(settings.meaning)
    meanings.embed(texts)
    return meanings.cosine
