"""Answers side by side: of each arm, where it differs, and which checks it failed."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from tunesmith.report.score_charts import in_order
from tunesmith.runs.history import Document

_PARTS = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")
PRINTED_FAILURES, PRINTED_OTHERS = 40, 10  # rows on paper
SHOWN = 500  # rows on a page: more make it slow to open
LONGEST = 4_000  # characters of a text on the page
GROUPS = ("worse", "fails", "partly", "better", "passes")  # in the order of the page
MAX_PAIRS = 50_000  # of equal words in two texts; repetitive ones have more, and take minutes


@dataclass(frozen=True, slots=True)
class ShownText:
    """One arm's answer in pieces, each with whether the reference has it too."""

    arm: str
    pieces: Sequence[tuple[str, bool]]
    failed: Sequence[str]
    partial: Sequence[str]  # checks that score it between 0 and 1, each with its score
    degenerate: Sequence[str]
    cut: int
    passed: bool  # every check, as far as each gave a score


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A question, what the data answers, and the arms' answers; ``group`` is for the filter.

    Paper has room for fewer: for failures of the tuned model, and some of the other rows.
    """

    number: int
    question: str
    reference: str
    said: Sequence[ShownText]
    group: str
    is_printed: bool


def shown_answers(rows: Sequence[Document]) -> Iterator[AnswerRow]:
    """At most `SHOWN` rows in the order of the page: first those where tuned fails a check."""
    numbered = [(_group(row), number, row) for number, row in enumerate(rows, start=1)]
    order = {group: place for place, group in enumerate((*GROUPS, ""))}
    printed: Counter[bool] = Counter()
    for group, number, row in sorted(numbered, key=lambda each: (order[each[0]], each[1]))[:SHOWN]:
        fails = group in ("worse", "fails")
        printed[fails] += 1
        answers: Mapping[str, str] = row.get("answers") or {}
        reference = str(row.get("reference") or "")
        yield AnswerRow(
            number=number,
            question=_cut(str(row.get("question") or ""))[0],
            reference=_cut(reference)[0],
            said=[_said(arm, row, str(answers[arm]), reference) for arm in in_order(answers)],
            group=group,
            is_printed=printed[fails] <= (PRINTED_FAILURES if fails else PRINTED_OTHERS),
        )


def first_answers(rows: Sequence[AnswerRow]) -> list[AnswerRow]:
    """One row that tuning made better, and one where it fails: what to look at first."""
    found = []
    for groups in (("better", "passes", "partly", ""), ("worse", "fails")):
        found += next(([row] for group in groups for row in rows if row.group == group), [])
    return found


def _said(arm: str, row: Document, text: str, reference: str) -> ShownText:
    short, cut = _cut(text)
    pieces = list(_compared(short, reference)) if reference else [(short, False)]
    degenerate = list((row.get("degenerate") or {}).get(arm) or ())
    scores = _scores(row, arm)
    partial = [f"{name} {100 * s:.0f} %" for name, s in scores.items() if s and s < 1]
    passed = all(s == 1 for s in scores.values()) if scores else "failed" in row
    return ShownText(arm, pieces, _failed(row, arm), partial, degenerate, cut, passed)


def _cut(text: str) -> tuple[str, int]:
    return text[:LONGEST], max(0, len(text) - LONGEST)


def _compared(text: str, reference: str) -> Iterator[tuple[str, bool]]:
    """Runs of words that the reference has in this order, and runs that it has not.

    Of two repetitive texts only rare words begin a run.
    """
    parts = _PARTS.findall(text)
    own = [part.strip() for part in parts]
    other = [part.strip() for part in _PARTS.findall(reference[:LONGEST])]
    counts = Counter(other)
    pairs = sum(count * counts[part] for part, count in Counter(own).items())
    matcher = SequenceMatcher(None, own, other, autojunk=pairs > MAX_PAIRS)
    at = 0
    for block in matcher.get_matching_blocks():
        if block.a > at:
            yield "".join(parts[at : block.a]), False
        if block.size:
            yield "".join(parts[block.a : block.a + block.size]), True
        at = block.a + block.size


def _failed(row: Document, arm: str) -> list[str]:
    return list((row.get("failed") or {}).get(arm) or ())


def _scores(row: Document, arm: str) -> dict[str, float | None]:
    """By check."""
    return dict((row.get("scores") or {}).get(arm) or {})


def _group(row: Document) -> str:
    """Whether tuned passes every check, and whether that is new beside the base; `partly` where it
    fails none and some score it below 1, "" where a check gave one of them no score.
    """
    tuned, base = _scores(row, "tuned").values(), _scores(row, "base").values()
    if "failed" not in row or None in (*tuned, *base):
        return ""
    passes = all(score == 1 for score in base) and not _failed(row, "base")
    if _failed(row, "tuned"):
        return "worse" if passes else "fails"
    if any(score != 1 for score in tuned):
        return "partly"
    return "passes" if passes else "better"
