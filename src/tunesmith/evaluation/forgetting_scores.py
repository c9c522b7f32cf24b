"""What did tuning cost? Probes scored by base and tuned, in one stream where both are there."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.evaluation.forgetting import Forgetting, Margins, assess_forgetting
from tunesmith.evaluation.forgetting_probes import with_all_questions
from tunesmith.evaluation.forgetting_sources import Probe, probes_named
from tunesmith.evaluation.likelihoods import Logs, Reader, ScoredSpan, log_likelihoods, tokens_of

WINDOW_TOKENS = 2048  # longer texts are read in such windows, or in the model's context
MIN_WINDOW = 16


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """What one arm finds of every probe's spans, read in windows of so many tokens."""

    window: int
    logs: Mapping[str, Sequence[Logs]]


class ProbeRun:
    """The probes of a run, and what the base finds of them once it has been asked.

    ``opened`` may be exchanged for what a base has become, after ``score_base``.
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
        self._notice = notice
        self.probes: tuple[Probe, ...] = probes_named(settings.probes)
        self.base: ProbeScores | None = None
        self._known: dict[int, tuple[list[ScoredSpan], list[tuple[str, int]]]] = {}

    def score_base(self, *, phase: PhaseProgress = UNSEEN) -> None:
        """Ask the base now, as training will change it."""
        (self.base,) = self._score([None], self._window(None), phase)

    def part(self, names: Sequence[str]) -> "ProbeRun":
        """The same with these probes alone; with all of them where a name stands for several."""
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
    ) -> Forgetting:
        """Base against an adapter, or against the model as it is now (None), by all or some probes.

        The base is asked only where it was not before, in the same streams as the adapter.
        """
        if probes is not None and self.base is not None:
            return self.part(probes).forgetting(adapter, phase=phase)
        window = self._window(adapter)
        kept = self.base if self.base and self.base.window == window else None
        if kept is None and adapter is None:
            raise ValueError("the base must be asked before it is trained: call score_base")
        scores = self._score([adapter] if kept else [None, adapter], window, phase)
        self.base = kept or scores[0]
        return self._judged(self.base, scores[-1])

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
        self, adapters: Sequence[str | None], window: int, phase: PhaseProgress
    ) -> list[ProbeScores]:
        """Each arm's scores; all probes go through the same streams."""
        spans, ends = self._spans(window)
        found = log_likelihoods(self.loaded.engine, spans, adapters, phase=phase)
        starts = [0, *(end for _, end in ends)]
        return [
            ProbeScores(
                window,
                {name: logs[start:end] for start, (name, end) in zip(starts, ends, strict=False)},
            )
            for logs in found
        ]

    def _judged(self, base: ProbeScores, tuned: ProbeScores) -> Forgetting:
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
