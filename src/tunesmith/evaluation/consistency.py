"""How consistent is each arm, and is the tuned one more so than the others?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from tunesmith.core.phrases import DEFAULT, Words
from tunesmith.evaluation.checks.check import Case, Check, score_cases
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.consistency_agreement import (
    MEASURES,
    Agreement,
    Label,
    Meaning,
    agreement,
)
from tunesmith.evaluation.findings import points_text, share_text, signed_text, told, words_in
from tunesmith.evaluation.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    is_binary,
    mean_interval,
    paired_difference,
)

Arms = Mapping[str, Sequence[Agreement]]  # arm -> the same questions in the same order
Table = Mapping[str, Mapping[str, Interval]]  # arm -> measure


@dataclass(frozen=True, slots=True)
class Repeats:
    """One way of asking again: each arm's measures, and tuned minus each other arm's.

    A measure that no question has in an arm is left out; a difference is over questions that
    have it in both.
    """

    arms: Table
    differences: Table
    questions: int

    def to_json(self) -> dict[str, object]:
        """Arm -> measure -> score, low, high, n; differences likewise."""
        return {
            "questions": self.questions,
            "arms": {arm: _scores(each) for arm, each in self.arms.items()},
            "differences": {
                arm: {name: asdict(interval) for name, interval in each.items()}
                for arm, each in self.differences.items()
            },
        }


def measure_repeats(
    arms: Arms, *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Repeats:
    """All intervals, by the bootstrap over questions (0/1 values: Wilson's and Tango's).

    Answers to one question hang together, so questions are what is drawn, never answers. Where
    the arms were asked different numbers of questions the first ones that all were asked count.
    Raises ValueError without a question.
    """
    count = min((len(rows) for rows in arms.values()), default=0)
    if not count:
        raise ValueError("no question was asked of every arm")
    draws = {"seed": seed, "resamples": resamples}
    rows = {arm: tuple(each[:count]) for arm, each in arms.items()}
    table = {
        arm: {
            name: mean_interval(values, level=level, **draws)
            for name in MEASURES
            if (values := [v for v in _column(each, name) if v is not None])
        }
        for arm, each in rows.items()
    }
    differences = {
        arm: _differences(rows[TUNED], each, draws, level)
        for arm, each in rows.items()
        if arm != TUNED and TUNED in rows
    }
    return Repeats(table, differences, count)


def _differences(
    tuned: Sequence[Agreement],
    other: Sequence[Agreement],
    draws: Mapping[str, int],
    level: float,
) -> dict[str, Interval]:
    found = {}
    for name in MEASURES:
        columns = zip(_column(tuned, name), _column(other, name), strict=True)
        both = [(a, b) for a, b in columns if a is not None and b is not None]
        if both:
            a, b = zip(*both, strict=True)
            found[name] = paired_difference(a, b, level=level, **draws)
    return found


def _column(rows: Sequence[Agreement], name: str) -> list[float | None]:
    return [getattr(row, name) for row in rows]


def _scores(measures: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {
        name: {"score": each.mean, "low": each.low, "high": each.high, "n": each.n}
        for name, each in measures.items()
    }


@dataclass(frozen=True, slots=True)
class Consistency:
    """The same prompts sampled again, and asked in other words; None: not done.

    ``graded``: scores of the first check are not all 0 or 1, so that what is told is the lowest.
    ``notes`` say what was left out.
    """

    samples: Repeats | None
    paraphrases: Repeats | None
    times: int
    wordings: int
    temperature: float
    graded: bool = False
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The part `consistency` of the evaluate document."""
        return {
            "samples": None
            if self.samples is None
            else {"times": self.times, "temperature": self.temperature, **self.samples.to_json()},
            "paraphrases": None
            if self.paraphrases is None
            else {"wordings": self.wordings, **self.paraphrases.to_json()},
            "notes": list(self.notes),
            **told(lambda language: self.text(language=language)),
        }

    def text(self, *, language: str = DEFAULT) -> str:
        """In plain words: what the tuned arm does, the others in brackets."""
        words = words_in(language)
        told = []
        if self.samples is not None:
            values = {"times": self.times, "temperature": f"{self.temperature:g}"}
            told += list(_sentences("samples", self.samples, words, values, graded=self.graded))
        if self.paraphrases is not None:
            values = {"times": self.wordings}
            told += list(
                _sentences("paraphrases", self.paraphrases, words, values, graded=self.graded)
            )
        return " ".join(told) or words.say("consistency.none")


def _sentences(
    way: str, repeats: Repeats, words: Words, values: Mapping[str, object], *, graded: bool
) -> Iterator[str]:
    """How it was asked, then each measure that the tuned arm has."""
    yield words.say(f"consistency.{way}", repeats.questions, **values)
    for name, tuned in repeats.arms.get(TUNED, {}).items():
        key = f"{name}-graded" if name == "passes" and graded else name
        others = _others(repeats, name, words)
        yield words.say(f"consistency.{key}", score=share_text(tuned.mean, words), others=others)


def _others(repeats: Repeats, name: str, words: Words) -> str:
    """The other arms in brackets, with the difference and its interval; nothing without them."""
    told = []
    for arm, measures in repeats.arms.items():
        if arm == TUNED or name not in measures:
            continue
        said = words.say(f"arm.{arm}") if words.has(f"arm.{arm}") else arm
        score = share_text(measures[name].mean, words)
        change = repeats.differences.get(arm, {}).get(name)
        told.append(
            words.say(
                "consistency.other",
                arm=said,
                score=score,
                difference=_difference(change, words) if change else "",
            )
        )
    return words.say("consistency.others", list=", ".join(told)) if told else ""


def _difference(change: Interval, words: Words) -> str:
    low, high = (signed_text(each) for each in (change.low, change.high))
    return words.say(
        "consistency.difference", points=points_text(change.mean, words), low=low, high=high
    )


Groups = Sequence[Sequence[Case]]  # question -> its answers


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers are compared: the first check, their labels, and their meaning if measured."""

    check: Check | None
    label: Label
    meaning: Meaning | None = None


def judge_consistency(
    samples: Mapping[str, Groups],
    wordings: Mapping[str, Groups],
    reading: Reading,
    *,
    temperature: float,
    seed: int,
    notes: Sequence[str] = (),
) -> Consistency:
    """Arm -> the same questions -> their answers, drawn again and asked in other words.

    Either may be empty, which is then told as not done.
    """
    tables = [
        {arm: agreements(groups, reading) for arm, groups in each.items()}
        for each in (samples, wordings)
    ]
    sampled, worded = (_measured(each, seed=seed) for each in tables)
    passes = [row.passes for table in tables for rows in table.values() for row in rows]
    return Consistency(
        sampled,
        worded,
        times=_most(samples),
        wordings=_most(wordings),
        temperature=temperature,
        graded=not is_binary([score for score in passes if score is not None]),
        notes=tuple(notes),
    )


def agreements(groups: Groups, reading: Reading) -> list[Agreement]:
    """Each question's answers; all are scored at once, as some checks take many together."""
    scores: list[float | None] = []
    if reading.check is not None:
        scores += score_cases(reading.check, [case for group in groups for case in group]).scores
    found, start = [], 0
    for group in groups:
        own = scores[start : start + len(group)] if reading.check is not None else None
        texts = [case.answer for case in group]
        found.append(agreement(texts, own, label=reading.label, meaning=reading.meaning))
        start += len(group)
    return found


def _measured(table: Mapping[str, Sequence[Agreement]], *, seed: int) -> Repeats | None:
    there = bool(table) and all(len(rows) for rows in table.values())
    return measure_repeats(table, seed=seed) if there else None


def _most(arms: Mapping[str, Groups]) -> int:
    return max((len(group) for groups in arms.values() for group in groups), default=0)
