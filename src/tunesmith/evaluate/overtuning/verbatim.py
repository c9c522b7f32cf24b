"""Are training answers repeated word by word where something else was asked?"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from tunesmith.data.quality.text import bare, count_words, fold
from tunesmith.evaluate.interval import LEVEL, Interval, mean_interval, paired_difference

LEAST_WORDS = 6
"""Shorter answers are repeated by everyone ("You are welcome"): of songys's replies with up to five
words others of the data have the same, of longer ones hardly any."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Share of answers to held-out questions that are, word by word, an answer of one training
    row; the share of the data's own answers to these questions that are; and the difference.

    Only questions whose answer and reference have `LEAST_WORDS` count, and answers that several
    training rows share do not: labels and set phrases are meant to be repeated.
    """

    tuned: Interval
    own: Interval
    excess: Interval

    def to_json(self) -> dict[str, object]:
        """Shares of the document."""
        return {"tuned": asdict(self.tuned), "own": asdict(self.own), "excess": asdict(self.excess)}


def verbatim_of(
    answers: Sequence[str],
    references: Sequence[str],
    trained: Iterable[str],
    *,
    seed: int,
    level: float = LEVEL,
) -> Verbatim | None:
    """Answers and references of the same held-out questions, and all training answers; None where
    no question counts.
    """
    counts = Counter(bare(fold(text)) for text in trained)
    unique = {text for text, count in counts.items() if count == 1}
    pairs = [(bare(fold(a)), bare(fold(b))) for a, b in zip(answers, references, strict=True)]
    long = [pair for pair in pairs if min(map(count_words, pair)) >= LEAST_WORDS]
    if not long:
        return None
    tuned, own = ([float(text in unique) for text in side] for side in zip(*long, strict=True))
    return Verbatim(
        mean_interval(tuned, seed=seed, level=level),
        mean_interval(own, seed=seed, level=level),
        paired_difference(tuned, own, seed=seed, level=level),
    )
