"""The probes of a run: read, asked of the base and of what was trained, and compared."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.rows import TokenRow
from tunesmith.data.tokenizer import encode
from tunesmith.evaluation.answering import Respondent, answers_to, prompts_of
from tunesmith.evaluation.answering import fingerprint as fingerprint_of
from tunesmith.evaluation.base_scores import BaseScores
from tunesmith.evaluation.forgetting import Forgetting, Margins, assess_forgetting
from tunesmith.evaluation.forgetting_probes import MultipleChoice, PlainText, with_all_questions
from tunesmith.evaluation.forgetting_prompts import LONGEST_ANSWER, PromptProbe, with_all_prompts
from tunesmith.evaluation.forgetting_sources import Probe, probes_named
from tunesmith.evaluation.likelihoods import Logs, Reader, ScoredSpan, log_likelihoods, tokens_of
from tunesmith.evaluation.score_cache import NOTHING_KEPT, open_scores
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling

WINDOW_TOKENS = 2048  # longer texts are read in such windows, or in the model's context
MIN_WINDOW = 16
SHARED_TOKENS = 13  # the overlap by which Brown et al. 2020 (GPT-3), appendix C, find a test's text
SEARCHED = 4  # scales that a bisection of ten tries, at most


def _grams(ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return (tuple(ids[i : i + SHARED_TOKENS]) for i in range(len(ids) - SHARED_TOKENS + 1))


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """One arm's scores of every probe's spans, read in windows of so many tokens, and its answers
    to the prompts of every probe that has some. ``more`` are those of a second look.
    """

    window: int
    logs: Mapping[str, Sequence[Logs]]
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    more: "ProbeScores | None" = None

    def with_more(self) -> "ProbeScores":
        """Those of both looks together."""
        if self.more is None:
            return self
        logs = {name: [*own, *self.more.logs.get(name, ())] for name, own in self.logs.items()}
        return replace(self, logs=logs)


Probes = tuple[Probe | PromptProbe, ...]


def _looks(probe: Probe | PromptProbe) -> tuple[Probe | PromptProbe, Probe | None]:
    """What of a probe is asked first, and what more only where that leaves it unclear."""
    return probe.looks() if isinstance(probe, MultipleChoice) else (probe, None)


def _places(ends: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Each probe's name, where its spans start and where they end."""
    starts = [0, *(end for _, end in ends)]
    return [(name, start, end) for start, (name, end) in zip(starts, ends, strict=False)]


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
        progress: Progress = SILENT,
    ) -> None:
        """Raises ConfigError where a probe cannot be read, before anything is trained."""
        self.loaded, self.settings, self._seed = loaded, settings, seed
        self._progress, self._base_print = progress, fingerprint_of(loaded.base)
        self._whole: tuple[Probe | PromptProbe, ...] = probes_named(settings.probes)
        looks = [_looks(probe) for probe in self._whole]
        self.probes = tuple(first for first, _ in looks)
        self._later: tuple[Probe | PromptProbe, ...] = tuple(more for _, more in looks if more)
        self.base: ProbeScores | None = None
        self._base_scores = BaseScores(loaded.base, self._base_print)
        self._known: dict[int, tuple[list[ScoredSpan], list[tuple[str, int]]]] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the probes that are plain text."""
        return tuple(probe.name for probe in self.probes if isinstance(probe, PlainText))

    @property
    def _asked(self) -> tuple[PromptProbe, ...]:
        return tuple(probe for probe in self.probes if isinstance(probe, PromptProbe))

    @property
    def _scored(self) -> tuple[Probe, ...]:
        return tuple(probe for probe in self.probes if not isinstance(probe, PromptProbe))

    @property
    def knows_base(self) -> bool:
        """Whether the base's scores are known, so that they take no time."""
        looks = self.spans_by_look()
        known = (self._base_scores.of(spans) is not None for look in looks for spans in look)
        return self.base is not None or all(known)

    def score_base(self) -> None:
        """Measure the base now, as training will change it."""
        window = self._window(None)
        self.base = self._known_base(window) or self._score(self._base_print, None, window)
        if (later := self._second_look()) is not None:
            later.score_base()
            self.base = replace(self.base, more=later.base)

    def part(self, names: Sequence[str]) -> "ProbeRun":
        """The same with these probes alone; with all of them where a name means several."""
        if len([probe for probe in self.probes if probe.name in names]) < len(names):
            return self
        whole, first, later = (
            tuple(probe for probe in probes if probe.name in names)
            for probes in (self._whole, self.probes, self._later)
        )
        return self._with(whole, first, later)

    def _with(self, whole: Probes, first: Probes, later: Probes) -> "ProbeRun":
        part = copy(self)
        part._whole, part.probes, part._later, part._known = whole, first, later, {}
        return part

    def _second_look(self) -> "ProbeRun | None":
        """What is asked where the first look leaves it unclear; None where there is no more."""
        if not self._later:
            return None
        later = self._with(self._later, self._later, ())
        later.base = self.base.more if self.base else None
        return later

    def forgetting(
        self,
        adapter: str | None,
        probes: Sequence[str] | None = None,
        *,
        fingerprint: str | None = None,
    ) -> Forgetting:
        """Base against an adapter, or against the model as it is now (None), by all or some probes.

        The base is measured only where it was not before.
        Scores are kept for a ``fingerprint`` of what is measured.
        """
        if probes is not None and self.base is not None:
            part = self.part(probes)
            found = part.forgetting(adapter, fingerprint=fingerprint)
            return replace(found, is_whole=part.probes == self.probes)
        base, tuned = self._both(adapter, fingerprint)
        found = self._assessed(self.probes, base, tuned)
        later = self._second_look()
        if later is None or not found.needs_more:
            return found
        more, tuned_more = later._both(adapter, fingerprint)
        self.base = base = replace(base, more=more)
        tuned = replace(tuned, more=tuned_more)
        return self._assessed(self._whole, base.with_more(), tuned.with_more())

    def _both(
        self, adapter: str | None, fingerprint: str | None
    ) -> tuple[ProbeScores, ProbeScores]:
        """The scores of the base and of the adapter by these probes."""
        window = self._window(adapter)
        kept = self.base if self.base and self.base.window == window else None
        if kept is None and adapter is None:
            raise ValueError("the base must be measured before it is trained: call score_base")
        if kept is None:
            kept = self._known_base(window) or self._score(self._base_print, None, window)
        self.base = kept
        return kept, self._score(fingerprint or "", adapter, window)

    def sharing_text(self, documents: Sequence[TokenRow]) -> frozenset[int]:
        """The places of the documents that share ``SHARED_TOKENS`` tokens in a row with a probe."""
        later = self._second_look()
        windows = [each._spans(self._window(None))[0] for each in (self, later) if each]
        spans = [span for each in windows for span in each]
        prompts = [prompt.query for probe in self._asked for prompt in probe.prompts]
        texts = [span.ids for span in spans] + encode(self.loaded.base.tokenizer, prompts)
        known = {gram for text in texts for gram in _grams(text)}
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

    def tokens_of_second_look(self, adapter: str | None) -> int:
        """Tokens that scoring one arm computes where the first look leaves something unclear."""
        later = self._second_look()
        return later.tokens(adapter) if later else 0

    def tokens_of_search(self, adapter: str | None) -> int:
        """Tokens that a search for a scale computes: its largest probe a few times, all once."""
        spans, ends = self._spans(self._window(adapter))
        each = [tokens_of(spans[i:j]) for _, i, j in _places(ends)]
        return SEARCHED * max(each, default=0) + sum(each)

    def spans_by_look(self) -> list[list[list[ScoredSpan]]]:
        """What the base is scored by, look by look and there probe by probe."""
        spans, ends = self._spans(self._window(None))
        later = self._second_look()
        own = [spans[i:j] for _, i, j in _places(ends)]
        return [own, *(later.spans_by_look() if later else [])]

    def _spans(self, window: int) -> tuple[list[ScoredSpan], list[tuple[str, int]]]:
        """All probes' spans read in such windows, and where each probe's end."""
        if window in self._known:
            return self._known[window]
        reader = Reader(self.loaded.base.tokenizer, window)
        spans: list[ScoredSpan] = []
        ends: list[tuple[str, int]] = []
        for probe in self._scored:
            own = probe.spans(reader)
            cut = sum(1 for span in own if span.cut)
            if cut:
                length = pluralize(window, "token")
                few = f"{probe.name}: {pluralize(cut, 'text')} longer than {length}, cut in front"
                self._progress.notice("forgetting", few)
            first = spans[-1].group + 1 if spans else 0
            spans += [replace(span, group=span.group + first) for span in own]
            ends.append((probe.name, len(spans)))
        self._known[window] = spans, ends
        return spans, ends

    def prompts(self, adapter: str | None) -> tuple[Prompt, ...]:
        """What one arm is asked, of all probes that have prompts."""
        asked = [request for probe in self._asked for request in probe.requests(self.loaded)]
        return prompts_of(self.loaded, asked, adapter)

    def _score(self, fingerprint: str, adapter: str | None, window: int) -> ProbeScores:
        """The scores of an arm, by its hash ("": not known); all probes share the streams."""
        spans, ends = self._spans(window)
        is_base = adapter is None and fingerprint == self._base_print
        kept = open_scores(fingerprint) if fingerprint else NOTHING_KEPT
        logs: Sequence[Logs] = []
        if spans:
            who = "base" if is_base else "tuned"
            phase = self._progress.phase(f"scoring probes of forgetting ({who})")
            (logs,) = log_likelihoods(self.loaded.engine, spans, [adapter], phase=phase, kept=kept)
        if is_base:
            for _, start, end in _places(ends):
                self._base_scores.keep(spans[start:end], logs[start:end])
        by_name = {name: logs[start:end] for name, start, end in _places(ends)}
        return ProbeScores(window, by_name, self._answers(Respondent(adapter, fingerprint or None)))

    def _known_base(self, window: int) -> ProbeScores | None:
        """What is kept of the base, where all of it is."""
        spans, ends = self._spans(window)
        logs = {name: self._base_scores.of(spans[i:j]) for name, i, j in _places(ends)}
        known = {name: each for name, each in logs.items() if each is not None}
        if len(known) < len(logs):
            return None
        return ProbeScores(window, known, self._answers(Respondent(None, self._base_print)))

    def _answers(self, who: Respondent) -> dict[str, Sequence[str]]:
        """An arm's answers to the prompts of each probe that has some; all are asked together."""
        asked = {probe.name: probe.requests(self.loaded) for probe in self._asked}
        if not asked:
            return {}
        arm = "base" if who.adapter is None and who.fingerprint == self._base_print else "tuned"
        texts = iter(
            answers_to(
                self.loaded,
                [request for requests in asked.values() for request in requests],
                who=who,
                sampling=Sampling(max_new_tokens=LONGEST_ANSWER),
                seed=self._seed,
                phase=self._progress.phase(f"answering probes of forgetting ({arm})"),
            )
        )
        return {name: [next(texts) for _ in requests] for name, requests in asked.items()}

    def _assessed(self, probes: Probes, base: ProbeScores, tuned: ProbeScores) -> Forgetting:
        again = {probe.name for probe in self._later}
        measured = []
        for probe in probes:
            if isinstance(probe, PromptProbe):
                answers = base.answers[probe.name], tuned.answers[probe.name]
                each = probe.measured(*answers, seed=self._seed)
            else:
                logs = base.logs[probe.name], tuned.logs[probe.name]
                each = probe.measured(*logs, seed=self._seed)
            measured.append(replace(each, looks=2 if probe.name in again else 1))
        settings = self.settings
        margins: Margins = {
            "accuracy": settings.accuracy_points / 100,
            "perplexity": settings.perplexity_percent / 100,
            "passed": settings.passed_points / 100,
        }
        whole = with_all_prompts(with_all_questions(measured, seed=self._seed), seed=self._seed)
        return assess_forgetting(whole, margins)
