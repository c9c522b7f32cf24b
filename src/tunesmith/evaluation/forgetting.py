"""What did tuning cost? Changes of each probe against the margins that are allowed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import Literal

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import Phrases
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.rows import TokenRow
from tunesmith.evaluation.answering import fingerprint as fingerprint_of
from tunesmith.evaluation.comparison import holm
from tunesmith.evaluation.findings import Described, Finding, finding_text
from tunesmith.evaluation.forgetting_probes import (
    Measure,
    PlainText,
    ProbeMeasure,
    with_all_questions,
)
from tunesmith.evaluation.forgetting_sources import Probe, probes_named
from tunesmith.evaluation.intervals import LEVEL, Interval
from tunesmith.evaluation.likelihoods import Logs, Reader, ScoredSpan, log_likelihoods, tokens_of
from tunesmith.evaluation.score_cache import NOTHING_KEPT, open_scores

Outcome = Literal["kept", "forgotten", "unclear"]
# The sign of a change for the worse.
WORSE: Mapping[Measure, int] = {"accuracy": -1, "perplexity": 1}


Margins = Mapping[Measure, float]
"""What may be lost: share of the questions, rise of the perplexity as a share of the base's."""


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """A probe's outcome: *kept* where its whole interval is better than the margin, *forgotten*
    where it is worse, tested together with the other probes', else *unclear*.
    """

    probe: str
    measure: Measure
    base: float
    tuned: float
    difference: Interval
    margin: float
    outcome: Outcome
    rows_needed: int | None
    details: Mapping[str, object]
    part: bool = False

    def to_json(self) -> dict[str, object]:
        """The documented keys and more; `difference` of a perplexity is a share of the base's."""
        return {
            "probe": self.probe,
            "measure": self.measure,
            "base": self.base,
            "tuned": self.tuned,
            **self.difference.to_json("difference"),
            "margin": self.margin,
            "outcome": self.outcome,
            "rows_needed": self.rows_needed,
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Every probe's finding, at one level; ``is_whole`` unless some probes were not asked."""

    findings: tuple[ProbeFinding, ...]
    level: float
    is_whole: bool = True

    @property
    def outcome(self) -> Outcome:
        """*forgotten* where a probe is, *kept* where all are that are no part of another."""
        if any(finding.outcome == "forgotten" for finding in self.findings):
            return "forgotten"
        return "unclear" if self.unclear else "kept"

    @property
    def forgotten(self) -> tuple[ProbeFinding, ...]:
        """What lies beyond its margin; parts only where nothing whole does."""
        found = [finding for finding in self.findings if finding.outcome == "forgotten"]
        return tuple(finding for finding in found if not finding.part) or tuple(found)

    @property
    def unclear(self) -> tuple[ProbeFinding, ...]:
        """What is unclear, without the parts of others."""
        return tuple(f for f in self.findings if f.outcome == "unclear" and not f.part)


def assess_forgetting(
    measured: Sequence[ProbeMeasure], margins: Margins, *, level: float = LEVEL
) -> Forgetting:
    """Every probe against its margin.

    That all are kept needs every probe's interval within its margin, and no correction; that any
    is forgotten is one of several chances to be wrong, which Holm's procedure holds together.
    """

    def beyond_of(each: ProbeMeasure) -> Callable[[float], int]:
        return lambda strict: int(_harm(each, strict)[0] > margins[each.measure])

    names = {str(number): beyond_of(each) for number, each in enumerate(measured)}
    beyond = holm(names, level=level)
    return Forgetting(
        tuple(
            _finding(each, margins[each.measure], level=level, forgotten=str(number) in beyond)
            for number, each in enumerate(measured)
        ),
        level,
    )


def _harm(each: ProbeMeasure, level: float) -> tuple[float, float]:
    """Limits of the change for the worse."""
    found, sign = each.difference(level), WORSE[each.measure]
    low, high = sorted((sign * found.low, sign * found.high))
    return low, high


def _finding(each: ProbeMeasure, margin: float, *, level: float, forgotten: bool) -> ProbeFinding:
    kept = _harm(each, level)[1] < margin
    outcome: Outcome = "forgotten" if forgotten else "kept" if kept else "unclear"
    limit, error = WORSE[each.measure] * margin, (1 - level) / 2
    return ProbeFinding(
        probe=each.probe,
        measure=each.measure,
        base=each.base,
        tuned=each.tuned,
        difference=each.difference(level),
        margin=margin,
        outcome=outcome,
        rows_needed=each.rows_needed(limit, error) if outcome == "unclear" else None,
        details=each.details,
        part=each.part,
    )


@dataclass(frozen=True, slots=True)
class AdapterScale(Described):
    """The scale (``share``) of the result, and the largest within the margins, ``tried`` (or None).

    ``probe`` is what scale 1 forgot beyond its margin: its ``measure`` differs from the base's by
    ``full``, and by ``now`` at the scale that was tried, as in a `ProbeFinding`. ``full_score`` and
    ``score`` are those of the first check there.
    """

    share: float
    tried: float | None
    probe: str
    measure: Measure
    full: float
    now: float | None = None
    full_score: float | None = None
    score: float | None = None

    def describe(self, words: Phrases) -> str:
        """Why the adapter has this scale, in words."""
        unit = "points" if self.measure == "accuracy" else "share"
        kind = "none" if self.now is None else "scaled-down" if self.share < 1 else "full"
        found = {
            f"full_{unit}": self.full,
            f"now_{unit}": self.now,
            "at_share": self.tried,
            "full_score_share": self.full_score,
            "score_share": self.score,
        }
        known = {name: value for name, value in found.items() if value is not None}
        code = kind if kind == "none" else f"{kind}-{self.measure}"
        finding = Finding(code, {"probe": self.probe, **known})
        return finding_text("scale", finding, words)

    def values(self) -> Mapping[str, object]:
        """The part `strength` of the evaluate document."""
        return asdict(self)


WINDOW_TOKENS = 2048  # longer texts are read in such windows, or in the model's context
MIN_WINDOW = 16
SHARED_TOKENS = 13  # the overlap by which Brown et al. 2020 (GPT-3), appendix C, find a test's text
SEARCHED = 4  # scales that a bisection of ten tries, at most


def _grams(ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return (tuple(ids[i : i + SHARED_TOKENS]) for i in range(len(ids) - SHARED_TOKENS + 1))


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """One arm's scores of every probe's spans, read in windows of so many tokens."""

    window: int
    logs: Mapping[str, Sequence[Logs]]


class ProbeRun:
    """The probes of a run, and the base's scores of them once they are measured.

    ``loaded`` may be replaced by what a base has become, after ``score_base``.
    """

    def __init__(
        self,
        loaded: LoadedBase,
        settings: ForgettingSettings,
        *,
        seed: int = 0,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Raises ConfigError where a probe cannot be read, before anything is trained."""
        self.loaded, self.settings, self._seed = loaded, settings, seed
        self._notice, self._base_print = notice, fingerprint_of(loaded.base)
        self.probes: tuple[Probe, ...] = probes_named(settings.probes)
        self.base: ProbeScores | None = None
        self._known: dict[int, tuple[list[ScoredSpan], list[tuple[str, int]]]] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the probes that are plain text."""
        return tuple(probe.name for probe in self.probes if isinstance(probe, PlainText))

    def score_base(self, *, phase: PhaseProgress = UNSEEN) -> None:
        """Measure the base now, as training will change it."""
        (self.base,) = self._score({self._base_print: None}, self._window(None), phase)

    def part(self, names: Sequence[str]) -> "ProbeRun":
        """The same with these probes alone; with all of them where a name means several."""
        chosen = tuple(probe for probe in self.probes if probe.name in names)
        part = copy(self)
        part.probes, part._known = chosen if len(chosen) == len(names) else self.probes, {}
        return part

    def forgetting(
        self,
        adapter: str | None,
        probes: Sequence[str] | None = None,
        *,
        phase: PhaseProgress = UNSEEN,
        fingerprint: str | None = None,
    ) -> Forgetting:
        """Base against an adapter, or against the model as it is now (None), by all or some probes.

        The base is measured only where it was not before, in the same streams as the adapter.
        Scores are kept for a ``fingerprint`` of what is measured.
        """
        if probes is not None and self.base is not None:
            part = self.part(probes)
            found = part.forgetting(adapter, phase=phase, fingerprint=fingerprint)
            return replace(found, is_whole=part.probes == self.probes)
        window = self._window(adapter)
        kept = self.base if self.base and self.base.window == window else None
        if kept is None and adapter is None:
            raise ValueError("the base must be measured before it is trained: call score_base")
        arms = {self._base_print: None} if kept is None else {}
        scores = self._score({**arms, fingerprint or "": adapter}, window, phase)
        self.base = kept or scores[0]
        return self._assessed(self.base, scores[-1])

    def sharing_text(self, documents: Sequence[TokenRow]) -> frozenset[int]:
        """The places of the documents that share ``SHARED_TOKENS`` tokens in a row with a probe."""
        spans, _ = self._spans(self._window(None))
        known = {gram for span in spans for gram in _grams(span.ids)}
        grams = (_grams(document.ids.tolist()) for document in documents)
        return frozenset(i for i, each in enumerate(grams) if not known.isdisjoint(each))

    def _window(self, adapter: str | None) -> int:
        loaded = self.loaded
        room = loaded.base.context - loaded.engine.prefix_length(adapter)
        if room < MIN_WINDOW:
            raise ModelError(
                f"The model's context leaves {pluralize(room, 'token')} for the probes of "
                "forgetting."
            )
        return min(WINDOW_TOKENS, room)

    def tokens(self, adapter: str | None) -> int:
        """Tokens that scoring one arm computes."""
        return tokens_of(self._spans(self._window(adapter))[0])

    def tokens_of_search(self, adapter: str | None) -> int:
        """Tokens that a search for a scale computes: its largest probe a few times, all once."""
        spans, ends = self._spans(self._window(adapter))
        starts = [0, *(end for _, end in ends)]
        each = [tokens_of(spans[i:j]) for i, (_, j) in zip(starts, ends, strict=False)]
        return SEARCHED * max(each) + sum(each)

    def _spans(self, window: int) -> tuple[list[ScoredSpan], list[tuple[str, int]]]:
        """All probes' spans read in such windows, and where each probe's end."""
        if window in self._known:
            return self._known[window]
        reader = Reader(self.loaded.base.tokenizer, window)
        spans: list[ScoredSpan] = []
        ends: list[tuple[str, int]] = []
        for probe in self.probes:
            own = probe.spans(reader)
            cut = sum(1 for span in own if span.cut)
            if cut:
                length = pluralize(window, "token")
                self._notice(
                    f"{probe.name}: {pluralize(cut, 'text')} longer than {length}, cut in front"
                )
            first = spans[-1].group + 1 if spans else 0
            spans += [replace(span, group=span.group + first) for span in own]
            ends.append((probe.name, len(spans)))
        self._known[window] = spans, ends
        return spans, ends

    def _score(
        self, arms: Mapping[str, str | None], window: int, phase: PhaseProgress
    ) -> list[ProbeScores]:
        """The scores of each arm, by its hash ("": not known); all probes share the streams."""
        spans, ends = self._spans(window)
        kept = open_scores(*arms) if all(arms) else NOTHING_KEPT
        engine, adapters = self.loaded.engine, list(arms.values())
        found = log_likelihoods(engine, spans, adapters, phase=phase, kept=kept)
        starts = [0, *(end for _, end in ends)]
        return [
            ProbeScores(
                window,
                {name: logs[start:end] for start, (name, end) in zip(starts, ends, strict=False)},
            )
            for logs in found
        ]

    def _assessed(self, base: ProbeScores, tuned: ProbeScores) -> Forgetting:
        measured = [
            probe.measured(base.logs[probe.name], tuned.logs[probe.name], seed=self._seed)
            for probe in self.probes
        ]
        settings = self.settings
        margins: Margins = {
            "accuracy": settings.accuracy_points / 100,
            "perplexity": settings.perplexity_percent / 100,
        }
        return assess_forgetting(with_all_questions(measured, seed=self._seed), margins)
