"""Did answers degenerate: do they repeat themselves or the question, or are they one for all?

An answer repeats itself where much more of it occurred earlier in it than in the data's own
answers, or where it ends in one stretch again and again. Texts are compared by their UTF-8 bytes,
so that no language needs words: 12 bytes are four Korean, Chinese or Japanese characters, and about
two English words. Rates are compared with those of the data's own answers to the same questions, so
that what the data does is normal. The limits are those of benchmarks/degeneration.py.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tunesmith.core.phrases import Phrases
from tunesmith.data.quality.text import fold
from tunesmith.data.tokenizer import HALF
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.findings import Described, arm_text, share_text
from tunesmith.evaluation.intervals import Interval, mean_interval, paired_difference

GRAM = 12  # bytes that make a stretch
REPEATED = 0.4  # of an answer, from what is usual in the data to all of it
USUAL = 0.95  # the quantile of the data's own answers that is usual
TAIL, TURNS = 36, 3  # bytes and turns of a loop at the end
COPIED, ASKED = 0.8, 0.5  # of an answer from the question, and of the question in the answer
ODDS = 5.0  # of an answer that many questions get, against the data's most frequent one
MARGIN = 0.05  # by which a rate must clearly be above the data's
SEED = 0  # shares of 0/1 rows need no bootstrap


def compact(text: str) -> bytes:
    """The text that is compared: one case, one Unicode form, without white space; a character that
    was cut at the end is dropped.
    """
    return "".join(fold(text.rstrip(HALF)).split()).encode("utf-8", "surrogatepass")


def grams(text: bytes, n: int = GRAM) -> list[bytes]:
    """All stretches of n bytes in order."""
    return [text[i : i + n] for i in range(len(text) - n + 1)]


def covered(text: bytes, starts: Sequence[bool], n: int = GRAM) -> float:
    """The share of the text that lies in stretches of n bytes whose ``starts`` are marked."""
    end, count = 0, 0
    for i, marked in enumerate(starts):
        if marked:
            count += i + n - max(i, end)
            end = i + n
    return count / len(text) if text else 0.0


def repeated_share(text: bytes) -> float:
    """How much of a text lies in stretches that occurred earlier in it.

    Of a loop of m turns it is (m - 1) / m.
    """
    seen: set[bytes] = set()
    marks = []
    for gram in grams(text):
        marks.append(gram in seen)
        seen.add(gram)
    return covered(text, marks)


def copied_share(text: bytes, source: bytes) -> float:
    """How much of a text lies in stretches that the source has."""
    known = set(grams(source))
    return covered(text, [gram in known for gram in grams(text)])


def ends_in_loop(text: bytes) -> bool:
    """Whether the text ends in one stretch, `TURNS` times or more in a row over `TAIL` bytes."""
    prefix = _common_prefixes(text[::-1])
    return any(
        period + prefix[period] >= max(TAIL, TURNS * period)
        for period in range(1, len(text) // TURNS + 1)
    )


def _common_prefixes(text: bytes) -> list[int]:
    """For each place the length of what begins there and at the start alike (the Z function)."""
    found, left, right = [0] * len(text), 0, 0
    for i in range(1, len(text)):
        if i < right:
            found[i] = min(right - i, found[i - left])
        while i + found[i] < len(text) and text[found[i]] == text[i + found[i]]:
            found[i] += 1
        if i + found[i] > right:
            left, right = i, i + found[i]
    return found


def repeated_limit(references: Sequence[bytes]) -> float:
    """The repeated share from which on an answer repeats itself, by what is usual in the data."""
    shares = sorted(map(repeated_share, references))
    usual = shares[math.ceil(USUAL * len(shares)) - 1]
    return usual + (1 - usual) * REPEATED


def repeats_itself(text: bytes, limit: float = REPEATED) -> bool:
    """Whether so much of it occurred earlier in it, or it ends in a loop."""
    return repeated_share(text) >= limit or ends_in_loop(text)


def repeats_question(text: bytes, question: bytes, *, cut: bool = False) -> bool:
    """Whether nearly all of an answer is from the question, and much of the question is in it.

    One that was ``cut`` at its largest number of tokens may have been about to give the rest.
    """
    is_copied = copied_share(text, question) >= COPIED
    return is_copied and (cut or copied_share(question, text) >= ASKED)


def one_for_all(answers: Sequence[bytes], references: Sequence[bytes]) -> list[bool]:
    """Which answers are one that far more questions get than any answer of the data.

    Labels are meant to be shared: the odds of an answer must be `ODDS` times those of the data's
    most frequent one, and its share clearly more than `MARGIN` above. Where the data has a closed
    set of answers, one that is not among them is compared with none.
    """
    usual = Counter(references)
    top, most = usual.most_common(1)[0]
    closed = 2 * list(usual.values()).count(1) < len(references)
    found = {
        answer
        for answer, count in Counter(answers).items()
        if count > 1
        and _beyond(
            [each == answer for each in answers],
            [most > 1 and each == top and (answer in usual or not closed) for each in references],
        )
    }
    return [answer in found for answer in answers]


def _beyond(answers: Sequence[bool], references: Sequence[bool]) -> bool:
    count, usual, n = sum(answers), sum(references), len(answers)
    if count * (n - usual) < ODDS * usual * (n - count):
        return False
    return _difference(answers, references).low > MARGIN


def _difference(answers: Sequence[bool], references: Sequence[bool]) -> Interval:
    return paired_difference([*map(float, answers)], [*map(float, references)], seed=SEED)


KINDS = ("itself", "question", "one_for_all")
ANY = "any"

Marks = Mapping[str, Sequence[bool]]  # kind, `any` too -> rows


def mark(
    answers: Sequence[str],
    references: Sequence[str],
    questions: Sequence[str],
    *,
    cut: Sequence[bool] | None = None,
) -> dict[str, list[bool]]:
    """Which answers degenerated, by kind and in any way, in the order of the questions.

    ``cut``: which of them ended at their largest number of tokens.
    """
    texts, own, asked = (list(map(compact, each)) for each in (answers, references, questions))
    limit = repeated_limit(own)
    kinds = {
        "itself": [repeats_itself(text, limit) for text in texts],
        "question": [
            repeats_question(text, question, cut=is_cut)
            for text, question, is_cut in zip(
                texts, asked, cut or [False] * len(texts), strict=True
            )
        ],
        "one_for_all": one_for_all(texts, own),
    }
    return {ANY: [any(row) for row in zip(*kinds.values(), strict=True)], **kinds}


Rates = Mapping[str, Interval]  # by kind


@dataclass(frozen=True, slots=True)
class Degeneration(Described):
    """Rates of degenerate answers in each arm and in the data's own answers to the same questions.

    ``differences`` are each arm's minus the data's; ``distinct`` counts different answers.
    ``rows`` has the kinds of each answer in the order of the questions. ``arm`` is the one that is
    described; ``found`` names the kinds whose rate is clearly more than `MARGIN` above the data's.
    """

    arm: str
    arms: Mapping[str, Rates]
    references: Rates
    differences: Mapping[str, Rates]
    distinct: Mapping[str, int]
    found: tuple[str, ...]
    rows: Mapping[str, Sequence[tuple[str, ...]]]

    def values(self) -> Mapping[str, object]:
        """The part `degeneration` of the evaluate document."""
        return {
            "arm": self.arm,
            "found": list(self.found),
            "arms": {arm: _json(rates, "score") for arm, rates in self.arms.items()},
            "references": _json(self.references, "score"),
            "differences": {arm: _json(each, "mean") for arm, each in self.differences.items()},
            "distinct": dict(self.distinct),
        }

    def describe(self, words: Phrases) -> str:
        """The share of degenerate answers, of which kinds, beside the data's own and the base's."""
        rates = self.arms[self.arm]
        kinds = [
            words.phrase(f"degeneration.{kind}", share=share_text(rates[kind].mean, words))
            for kind in KINDS
            if rates[kind].mean
        ]
        others = [
            words.phrase(
                "arm-score", arm=arm_text(arm, words), score=share_text(each[ANY].mean, words)
            )
            for arm, each in self.arms.items()
            if arm != self.arm
        ]
        own = share_text(self.references[ANY].mean, words)
        others = [words.phrase("degeneration.own", score=own), *others]
        is_one = (
            len(self.rows[self.arm]) > self.distinct[self.arm] == 1 < self.distinct["references"]
        )
        seen = "found" if self.found else "some" if kinds else "one" if is_one else "none"
        return words.phrase(
            f"degeneration.{seen}",
            share=share_text(rates[ANY].mean, words),
            kinds=words.phrase("degeneration.join").join(kinds),
            others=", ".join(others),
        )


def _json(rates: Rates, mean: str) -> dict[str, dict[str, float]]:
    return {kind: rate.to_json(mean) for kind, rate in rates.items()}


def assess_degeneration(
    texts: Mapping[str, Sequence[str]],
    references: Sequence[str],
    questions: Sequence[str],
    *,
    cut: Mapping[str, Sequence[bool]] = MappingProxyType({}),
) -> Degeneration:
    """Arm -> answers to the same questions, in the order of ``references``, and which were cut.

    The tuned arm is described, or the first where nothing was tuned. Raises ValueError without a
    question.
    """
    if not references:
        raise ValueError("no answers: degeneration needs some")
    own = mark(references, references, questions)
    marks = {
        arm: mark(answers, references, questions, cut=cut.get(arm))
        for arm, answers in texts.items()
    }
    differences = {
        arm: {kind: _difference(rows, own[kind]) for kind, rows in each.items()}
        for arm, each in marks.items()
    }
    arm = TUNED if TUNED in texts else next(iter(texts))
    return Degeneration(
        arm,
        arms={arm: _rates(each) for arm, each in marks.items()},
        references=_rates(own),
        differences=differences,
        distinct={
            name: len(set(map(compact, each)))
            for name, each in {**texts, "references": references}.items()
        },
        found=tuple(kind for kind, each in differences[arm].items() if each.low > MARGIN),
        rows={arm: list(_kinds_of_rows(each)) for arm, each in marks.items()},
    )


def _kinds_of_rows(marks: Marks) -> Iterator[tuple[str, ...]]:
    """For each answer the kinds that it is of."""
    for row in zip(*(marks[kind] for kind in KINDS), strict=True):
        yield tuple(kind for kind, is_marked in zip(KINDS, row, strict=True) if is_marked)


def _rates(marks: Marks) -> dict[str, Interval]:
    return {kind: mean_interval([*map(float, rows)], seed=SEED) for kind, rows in marks.items()}
