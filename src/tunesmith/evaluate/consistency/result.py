"""What is told of consistency: the numbers of both ways of asking again, and plain words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tunesmith.evaluate.consistency.measure import Repeats
from tunesmith.evaluate.findings import points_text, share_text, signed_text
from tunesmith.evaluate.interval import Interval
from tunesmith.evaluate.summary import TUNED
from tunesmith.evaluate.words import told, words_in
from tunesmith.words import DEFAULT, Words


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
