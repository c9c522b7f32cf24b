"""What went wrong in a run, if anything: named findings, each with its reason and threshold.

A false alarm is as bad as a miss, so each needs signs that a good run does not show together;
where rows were measured, the limit of an interval must lie beyond the threshold.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.capacity import FULL
from tunesmith.evaluation.checkpoints import CheckpointChoice
from tunesmith.evaluation.findings import (
    Described,
    Finding,
    Value,
    finding_text,
    findings_text,
)
from tunesmith.evaluation.overfitting_evidence import Evidence

FASTER = 5.0
"""Multiple of the usual learning rate from which on it is named as the reason. People try rates in
steps of two or three; this is beyond one such step."""

ROSE = 1.25
"""End of the training loss over its beginning: steps of few rows differ by a tenth, not by that."""

PEAK, RECOVERED = 1.5, 0.5
"""A loss that rose to half more than at the start and is not down to half of it at the end: runs
that recover from a bad beginning end far lower, and are not named."""

COLLAPSED, CHANCE = 0.5, 0.01
"""Half the distinct answers of the data, with a p of 1 %. Greedy answers prefer what is common, so
that they are less diverse than people; a good run keeps well above half."""

CONFLICTS = 0.05
"""Share of rows with contradicting labels. At best half of them can be learned, so that one answer
in forty is wrong; fewer are the noise of careful data (3 % of test labels are wrong in ten widely
used sets, Northcutt et al. 2021, arXiv 2103.14749)."""

SURE, APART = 0.1, 0.05
"""Memorized: training rows have a tenth of the held-out loss, and the gap is surely above
0.05 nats a token, which is 5 % of a token's probability."""

MANY_PASSES = 16
"""Passes over the rows from which on more of them bring next to nothing: repeated rows are as good
as new ones up to 4, and worth little more from about 16 (Muennighoff et al. 2023, arXiv
2305.16264)."""

WORSE, WORSE_NATS = 1.1, 0.05
"""Held-out loss above its lowest one: by a tenth and by 0.05 nats, so that neither a small loss nor
a flat curve draws it."""

COPIED = 0.3
"""Answers that are one training row's, word by word, beyond what the data itself repeats: greedy
answers to small talk repeat more than people do, so that only much more counts."""

MANY_CLASSES, UNLEARNED, ENOUGH_PASSES = 20, 0.25, 3.0
"""Rank too low: with few classes any rank would do; a loss of a quarter of that of a model which
never reads the question. Used wholly: `FULL` of the spectrum, or rank 1. And so many passes: after
0.9 of one, 150 classes were as open at rank 16 as at rank 1 (0.438 and 0.444 nats), so that steps
were short and not rank. Where ranks are compared, `capacity` tells it from their losses."""

STILL_IMPROVING, AHEAD = 0.8, 0.5
"""Last fifth of the training losses over the fifth before it: below, more steps would help, unless
training rows have less than half of the held-out loss: then the run falls by learning its own rows.
"""

Rule = Callable[[Evidence], Finding | None]


def diagnose(evidence: Evidence) -> tuple[Finding, ...]:
    """Every finding; one that explains another replaces it.

    `diverged`, `collapsed`, `contradicting-labels`, `learned-by-heart` and `rank-too-low` are
    harm; `past-its-best`, `still-falling` and `learned-by-heart-at-the-end` are hints. A run that
    diverged is not also collapsed, nor short of rank; one that memorized its rows is overfit
    anyway.
    """
    found = {rule: finding for rule in RULES if (finding := rule(evidence)) is not None}
    hidden = {other for rule in found for other in INSTEAD.get(rule, ())}
    return tuple(finding for rule, finding in found.items() if rule not in hidden)


def diverged(e: Evidence) -> Finding | None:
    """The run broke off, lost more on its own rows than the base does, or never came back from
    a rise.
    """
    curves = e.curves
    surely = e.gap is not None and e.gap.train_change is not None and e.gap.train_change.low > 0
    rose = curves.last > ROSE * curves.first
    lost = curves.peak > PEAK * curves.first and curves.last > RECOVERED * curves.first
    if not (curves.broken or surely or rose or lost):
        return None
    values: dict[str, Value] = {"first_nats": curves.first, "last_nats": curves.last}
    if e.rate is not None and e.rate.times >= FASTER:
        values |= {"lr": f"{e.rate.given:g}", "usual": f"{e.rate.usual:g}", "times": e.rate.times}
        return Finding("diverged-rate", values, harm=True)
    return Finding("diverged", values, harm=True)


def collapsed(e: Evidence) -> Finding | None:
    """Answers to different questions became the same."""
    d = e.diversity
    if d is None or d.kept > COLLAPSED or d.p > CHANCE:
        return None
    values = {
        "distinct": d.tuned.distinct,
        "own": d.own.distinct,
        "questions": d.questions,
        "commonest_share": d.tuned.commonest_share,
    }
    return Finding("collapsed", values, harm=True)


def contradicting_labels(e: Evidence) -> Finding | None:
    """Questions have several labels, and these rows are what the run could not learn."""
    w = e.warned.get("contradictions")
    if w is None or not w.choices or w.share < CONFLICTS:
        return None
    if w.above is not None and w.above.low <= 0:
        return None
    values: dict[str, Value] = {"rows": w.rows, "rows_share": w.share}
    if w.loss_share is not None:
        return Finding("contradicting-labels-loss", {**values, "loss_share": w.loss_share}, True)
    return Finding("contradicting-labels", values, harm=True)


def memorized(e: Evidence) -> Finding | None:
    """Training rows are certain and others are not, after too many passes, with a rising held-out
    loss, or with training answers in place of own ones.
    """
    gap = e.gap
    if gap is None:
        return None
    if gap.train_loss > SURE * gap.held_out_loss or gap.gap.low <= APART:
        return _memorized_at_the_end(e)
    values: dict[str, Value] = {
        "rows": e.rows,
        "train_nats": gap.train_loss,
        "held_nats": gap.held_out_loss,
        "passes": round(e.passes),
    }
    if e.passes >= MANY_PASSES:
        return Finding("learned-by-heart-passes", values, harm=True)
    if (rise := _rise(e)) is not None:
        return Finding("learned-by-heart-rise", {**values, **rise}, harm=True)
    if e.verbatim is not None and e.verbatim.excess.low > COPIED:
        copied: dict[str, Value] = {
            "copied_share": e.verbatim.tuned.mean,
            "own_share": e.verbatim.own.mean,
        }
        return Finding("learned-by-heart-copied", {**values, **copied}, harm=True)
    return None


def _memorized_at_the_end(e: Evidence) -> Finding | None:
    """The same at the end of training, though an earlier checkpoint is the result: a hint."""
    rise = _rise(e)
    if rise is None or e.passes < MANY_PASSES or e.curves.last > SURE * e.curves.held[-1][1]:
        return None
    values: dict[str, Value] = {"rows": e.rows, "passes": round(e.passes), **rise}
    return Finding("learned-by-heart-at-the-end", {**values, "train_nats": e.curves.last})


def overfit(e: Evidence) -> Finding | None:
    """The held-out loss was lower before."""
    rise = _rise(e)
    return None if rise is None else Finding("past-its-best", rise)


def rank_too_low(e: Evidence) -> Finding | None:
    """Many classes, all of the rank in use, and labels that even training rows leave open: no
    sign of too few rows (no gap), of too few steps (no fall), or of labels at odds.
    """
    if e.labels is None or e.rank is None or e.gap is None:
        return None
    gap, blind = e.gap, e.labels.blind_loss
    full = e.rank == 1 or (e.used is not None and e.used >= FULL)
    train, held = gap.train_loss, gap.held_out_loss
    open_labels = train > UNLEARNED * blind and held - train < train
    short = e.passes < ENOUGH_PASSES or bool(_improving(e))
    if e.labels.classes < MANY_CLASSES or not full or not open_labels or short:
        return None
    values: dict[str, Value] = {
        "rank": e.rank,
        "classes": e.labels.classes,
        "train_nats": gap.train_loss,
        "blind_nats": blind,
    }
    return Finding("rank-too-low", values, harm=True)


def underfit(e: Evidence) -> Finding | None:
    """The training loss was falling when the run ended, and other rows fell with it."""
    fall, gap = _improving(e), e.gap
    ahead = gap is not None and gap.train_loss < AHEAD * gap.held_out_loss
    if not fall or (gap is not None and ahead and gap.gap.low > APART):
        return None
    return Finding("still-falling", {"fall_share": fall, "passes": round(e.passes, 1)})


def _rise(e: Evidence) -> dict[str, Value] | None:
    """How far the held-out loss ended above its lowest one, where that matters."""
    lowest = e.curves.lowest_held
    if lowest is None:
        return None
    step, least = lowest
    last = e.curves.held[-1][1]
    if last <= WORSE * least or last - least <= WORSE_NATS:
        return None
    return {"step": step, "lowest_nats": least, "end_nats": last}


def _improving(e: Evidence) -> float:
    """Share by which the loss fell over the last fifth of the steps; 0 where that is not much."""
    train = e.curves.train
    part = len(train) // 5
    if part < 4:
        return 0.0
    before, after = (sum(train[-2 * part : -part]) / part, sum(train[-part:]) / part)
    small = e.labels is not None and after < 0.1 * e.labels.blind_loss
    return (
        1 - after / before if before > 0 and after < STILL_IMPROVING * before and not small else 0
    )


RULES: tuple[Rule, ...] = (
    diverged,
    collapsed,
    contradicting_labels,
    memorized,
    rank_too_low,
    overfit,
    underfit,
)
INSTEAD: dict[Rule, tuple[Rule, ...]] = {
    diverged: (collapsed, memorized, rank_too_low, overfit, underfit),
    collapsed: (rank_too_low, underfit),
    contradicting_labels: (rank_too_low, overfit, underfit),
    memorized: (overfit, underfit),
    overfit: (underfit,),
    rank_too_low: (underfit,),
}


@dataclass(frozen=True, slots=True)
class Overfitting(Described):
    """A run's evidence with its findings; ``choice`` where checkpoints were measured."""

    evidence: Evidence
    findings: tuple[Finding, ...]
    choice: CheckpointChoice | None = None

    def describe(self, words: Phrases) -> str:
        """The findings in words."""
        texts = [findings_text("overfitting", self.findings, words)]
        if self.choice is not None:
            texts.append(choice_text(self.choice, words))
        return " ".join(texts)

    def values(self) -> Mapping[str, object]:
        """The part `overfitting` of the evaluate document."""
        e = self.evidence
        return {
            "rows": e.rows,
            "passes": e.passes,
            "losses": e.gap and asdict(e.gap),
            "held_out_losses": [{"step": step, "loss": loss} for step, loss in e.curves.held],
            "verbatim": e.verbatim and asdict(e.verbatim),
            "diversity": e.diversity and asdict(e.diversity),
            "warnings": [each.to_json() for each in e.warned.values()],
            "checkpoint": self.choice and self.choice.to_json(),
            "findings": [each.to_json() for each in self.findings],
        }


def assess_overfitting(evidence: Evidence, choice: CheckpointChoice | None = None) -> Overfitting:
    """The diagnosis; where a checkpoint was chosen, that of the lowest loss was one of them."""
    findings = diagnose(evidence)
    if choice is not None:
        past, result = "past-its-best", {"result": choice.best.step}
        findings = tuple(
            replace(each, code=f"{past}-kept", values={**each.values, **result})
            if each.code == past
            else each
            for each in findings
        )
    return Overfitting(evidence, findings, choice)


def choice_text(choice: CheckpointChoice, words: Phrases) -> str:
    """Why this checkpoint."""
    best, last, highest = choice.best, choice.last, choice.highest
    kind = "share" if choice.unit == "share" else "nats"
    shown = kind if best.forgotten is not None else "loss"  # which alone was measured
    sign = 1 if choice.unit == "share" else -1  # a loss is shown as it is
    values = {
        "step": best.step,
        "last": last.step,
        "highest": highest.step,
        f"score_{kind}": sign * best.score,
        f"forgotten_{kind}": best.lost,
        f"last_score_{kind}": sign * last.score,
        f"last_forgotten_{kind}": last.lost,
        f"highest_score_{kind}": sign * highest.score,
        f"highest_forgotten_{kind}": highest.lost,
    }
    return finding_text(f"overfitting.checkpoint-{shown}", Finding(choice.reason, values), words)
