"""An evaluate document in a sentence or two for someone who reads no intervals."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.comparison import BASE, TUNED
from tunesmith.evaluation.findings import arm_text

Document = Mapping[str, Any]
MOST = 0.5  # of the answers, or of what they could score


def plain_text(document: Document, words: Phrases) -> str:
    """How many of a hundred answers pass now and did before, and whether that says something.

    Empty without a verdict, and where nothing was tuned or scored. ``words``: this package's.
    """
    verdict, arms = document.get("verdict") or {}, document.get("arms") or {}
    if not verdict:
        return ""
    name = str(verdict.get("check") or next(iter(_checks(arms, TUNED)), ""))
    scores = {arm: _checks(arms, arm).get(name) or {} for arm in arms}
    known = {arm: each for arm, each in scores.items() if each.get("score") is not None}
    if TUNED not in known:
        return ""
    sentences = [*_scores(known, verdict, words), *_reasons(verdict, known, words)]
    sentences += _low(_checks(arms, TUNED), name, words)
    sentences += _reworded(document, known[TUNED], words)
    return " ".join([*sentences, *_forgetting(document, words), *_caveats(document, words)])


def _checks(arms: Mapping[str, Document], arm: str) -> Document:
    found: Document = (arms.get(arm) or {}).get("checks") or {}
    return found


def _scores(scores: Mapping[str, Document], verdict: Document, words: Phrases) -> Iterator[str]:
    kind = "graded" if any(map(is_graded, scores.values())) else "passes"
    yield words.phrase(f"plain.{kind}.tuned", score=_of_hundred(scores[TUNED]))
    if BASE in scores:
        yield words.phrase(f"plain.{kind}.base", score=_of_hundred(scores[BASE]))
    against = str(verdict.get("against"))
    if against in scores and against != BASE:
        arm = arm_text(against, words)
        yield words.phrase(f"plain.{kind}.other", arm=arm, score=_of_hundred(scores[against]))


def is_graded(score: Document) -> bool:
    """Whether scores lie between 0 and 1, so that their sum is no count of answers."""
    total = float(score["score"]) * int(score.get("n") or 0)
    return not math.isclose(total, round(total), abs_tol=1e-6)


def _of_hundred(score: Document) -> str:
    return f"{100 * float(score['score']):.0f}"


def _reasons(verdict: Document, scores: Mapping[str, Document], words: Phrases) -> Iterator[str]:
    """What the verdict rests on, besides forgetting."""
    reasons, needed = verdict.get("reasons") or (), verdict.get("rows_needed")
    rows = int((verdict.get("difference") or scores[TUNED]).get("n") or 0)
    if "better" in reasons:
        yield words.phrase("plain.better")
    elif "not-better" in reasons:
        yield words.phrase("plain.not-better")
    elif "too-few-rows" in reasons and (verdict.get("difference") or {}).get("mean") == 0:
        yield words.phrase("plain.alike", rows)
    elif "too-few-rows" in reasons and needed:
        yield words.phrase("plain.few", rows, needed=f"{needed:,}")
    elif "too-few-rows" in reasons:
        yield words.phrase("plain.chance", rows)
    fell = [check for check, sign in (verdict.get("changed") or {}).items() if sign == -1]
    if fell:
        yield words.phrase("plain.fell", checks=", ".join(f"`{check}`" for check in fell))


def _low(checks: Document, first: str, words: Phrases) -> Iterator[str]:
    """The other checks that most answers fail, where most pass the first: it alone decides."""
    known = {n: each["score"] for n, each in checks.items() if each.get("score") is not None}
    if known[first] >= MOST:
        low = {n: score for n, score in known.items() if score < MOST}
        shown = ", ".join(f"`{n}` {100 * score:.0f}" for n, score in low.items())
        if shown:
            yield words.phrase("plain.low", len(low), checks=shown)


def _reworded(document: Document, score: Document, words: Phrases) -> Iterator[str]:
    """That other wordings of a question are answered less well, where that is sure."""
    asked = (document.get("consistency") or {}).get("paraphrases") or {}
    passes = ((asked.get("arms") or {}).get(TUNED) or {}).get("passes")
    if passes and passes["high"] < score["low"]:
        yield words.phrase("plain.reworded", asked["questions"], score=_of_hundred(passes))


def _caveats(document: Document, words: Phrases) -> Iterator[str]:
    """Why the scores show less than they seem to."""
    codes = [caveat["code"] for caveat in document.get("caveats") or ()]
    for code in dict.fromkeys(codes):
        yield words.phrase(f"plain.caveats.{code}")


def _forgetting(document: Document, words: Phrases) -> Iterator[str]:
    """What became of everything else."""
    findings = document.get("forgetting")
    if not findings:
        yield words.phrase("plain.not-measured")
        return
    elsewhere = (document.get("verdict") or {}).get("elsewhere") or {}
    for outcome, part in (("forgotten", "lost"), ("unclear", "unclear")):
        found = [each["probe"] for each in findings if each.get("outcome") == outcome]
        probes = elsewhere.get(part, found)  # without the parts of a probe that is kept as a whole
        if probes:
            yield words.phrase(f"plain.{outcome}", probes=", ".join(f"`{each}`" for each in probes))
    all_kept = all(each.get("outcome") == "kept" for each in findings)
    if elsewhere.get("answer") == "kept" or all_kept:
        yield words.phrase("plain.kept")
