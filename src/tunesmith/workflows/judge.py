"""Did a run reach its purpose, and at what cost: all arms' answers, checks, probes, the verdict."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.config import RunConfig
from tunesmith.counts import many
from tunesmith.data.rows import Conversation
from tunesmith.evaluate.checks.fitting import fit_checks
from tunesmith.evaluate.checks.protocol import require_references
from tunesmith.evaluate.checks.references import reference_notes
from tunesmith.evaluate.checks.table import build_checks
from tunesmith.evaluate.forgetting.findings import Forgetting
from tunesmith.evaluate.summary import TUNED
from tunesmith.evaluate.verdict import Verdict, judge
from tunesmith.generate.sampling import Sampling
from tunesmith.train.events import Event, Notice, Progress
from tunesmith.workflows.answer_cache import Said, open_cache, voice_of
from tunesmith.workflows.answering import answer_arms
from tunesmith.workflows.answers import Answers, questions_of, score, text_of
from tunesmith.workflows.arms import (
    BASE,
    Arm,
    arm_of,
    base_arms,
    kept,
    read_instruction,
    without_room,
)
from tunesmith.workflows.document import document, facts_of
from tunesmith.workflows.forgetting import Probing, Scores
from tunesmith.workflows.opening import Opened


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is judged: an adapter (None: the whole model) over a base, and the hash of both."""

    opened: Opened
    adapter: str | None
    voice: str


def require_evaluable(config: RunConfig) -> None:
    """Raise ConfigError for what could not be judged, before anything is loaded or written."""
    build_checks(config.evaluate.checks)
    read_instruction(config.evaluate)


class Judge:
    """A run's held-out questions, arms, checks and probes, and what the arms said so far."""

    def __init__(  # noqa: PLR0913  # each is another part of a run
        self,
        opened: Opened,
        config: RunConfig,
        held: Sequence[Conversation],
        *,
        emit: Callable[[Event], None],
        stop: Callable[[], bool] = lambda: False,
        rows: Sequence[Conversation] = (),
        virtual_tokens: int = 0,
    ) -> None:
        """Raises DataError where a check cannot score a row, before anything is trained.

        Of the training ``rows`` examples are drawn, and checks that learn are fitted on their
        answers. ``virtual_tokens`` are those of the adapter that is to be judged.
        """
        self._opened, self._config, self._emit, self._stop = opened, config, emit, stop
        self._rows = rows
        self.stopped = False
        self.checks = build_checks(config.evaluate.checks)
        wanted = held if self.checks else []
        self.questions = questions_of(wanted, opened.base.tokenizer, most=config.evaluate.rows)
        self._build_arms(virtual_tokens)
        references = [question.reference for question in self.questions]
        asked = [question.text for question in self.questions]
        require_references(self.checks, references, asked)
        for note in reference_notes(self.checks, references, asked):
            emit(Notice("checks", note))
        self.said: dict[str, tuple[Said, ...]] = {}
        self.answers: Answers | None = None
        self.verdict: Verdict | None = None
        self._probing = self._probes()

    def _build_arms(self, virtual_tokens: int) -> None:
        """The arms of the base over the questions that leave room for an answer."""
        settings, seed = self._config.evaluate, self._config.train.seed
        self.base = base_arms(self._opened, self.questions, settings, rows=self._rows, seed=seed)
        if BASE in self.base.arms:
            full = without_room(self.base.arms[BASE], virtual_tokens)
            if full:
                said = f"{many(len(full), 'held-out row')} not asked: no room for an answer"
                self._emit(Notice("arms", said))
                stay = [i for i in range(len(self.questions)) if i not in set(full)]
                self.questions = tuple(self.questions[i] for i in stay)
                arms = {name: kept(arm, stay) for name, arm in self.base.arms.items() if stay}
                self.base = replace(self.base, arms=arms)
        for name, why in self.base.left_out.items():
            self._emit(Notice("arms", f"arm {name} left out: {why}"))
        self.arms: dict[str, Arm] = dict(self.base.arms)

    def _probes(self) -> Probing | None:
        """What tells of forgetting; a verdict needs questions first."""
        settings = self._config.evaluate.forgetting
        if settings is None or not self.questions:
            return None

        def notice(text: str) -> None:
            self._emit(Notice("forgetting", text))

        return Probing(self._opened, settings, seed=self._config.train.seed, notice=notice)

    @property
    def base_scores(self) -> Scores | None:
        """What the base found of the probes so far; another run's over it may be put here."""
        return self._probing.base if self._probing else None

    @base_scores.setter
    def base_scores(self, scores: Scores | None) -> None:
        if self._probing and scores is not None:
            self._probing.base = scores

    def answer_before(self) -> None:
        """Let the base answer now, as training will change it, or as it is about to go."""
        if not self.questions:
            return
        self._answer(self.base.arms, {})
        if self._probing and not self.stopped:
            self._probing.score_base(go_on=self._progress("scoring probes of forgetting (base)"))
            self.stopped = self._probing.base is None

    def judge(self, tuned: Tuned) -> Answers | None:
        """All arms' answers under every check, with the verdict kept; None without checks or
        held-out rows, or when a stop was asked for.
        """
        if not self.questions:
            return None
        self.arms[TUNED] = arm_of(tuned.opened, TUNED, self.questions, adapter=tuned.adapter)
        missing = {name: arm for name, arm in self.arms.items() if name not in self.said}
        self._answer(missing, {TUNED: tuned})
        forgetting = self._forgetting(tuned)
        if self.stopped:
            return None
        seed = self._config.train.seed
        texts = self._texts(tuned)
        own = [row.messages[row.supervised[-1]].content for row in self._rows if row.supervised]
        checks = fit_checks(self.checks, own=own, base=texts[BASE])
        facts = facts_of(self.arms, self.said)
        self.answers = score(self.questions, texts, checks, seed=seed, facts=facts)
        for name, arms in self.answers.scored.items():
            for arm, scored in arms.items():
                if scored.note:
                    self._emit(Notice("checks", f"check `{name}`, {arm}: {scored.note}"))
        tokens = {name: arm.prompt_tokens + arm.virtual_tokens for name, arm in self.arms.items()}
        self.verdict = judge(self.answers.summary, forgetting=forgetting, prompt_tokens=tokens)
        return self.answers

    def to_json(self) -> dict[str, object] | None:
        """The evaluate document; None where nothing was judged."""
        if self.answers is None or self.verdict is None:
            return None
        return document(self.answers, self.verdict, self.base, goal=self._config.goal)

    def _texts(self, tuned: Tuned) -> dict[str, tuple[str, ...]]:
        """Each arm's answers as text, thinking aside."""
        tokenizers = {TUNED: tuned.opened.tokenizer(tuned.adapter)}
        return {
            name: tuple(
                text_of(tokenizers.get(name, self._opened.base.tokenizer), said.ids)
                for said in self.said[name]
            )
            for name in self.arms
        }

    def _forgetting(self, tuned: Tuned) -> Forgetting | None:
        if self._probing is None or self.stopped:
            return None
        self._probing.opened = tuned.opened
        go_on = self._progress("scoring probes of forgetting")
        found = self._probing.forgetting(tuned.adapter, go_on=go_on)
        self.stopped = self.stopped or found is None
        return found

    def _progress(self, phase: str) -> Callable[[int, int], bool]:
        """Tells how far a phase is; False once a stop is asked for."""
        start, first = time.monotonic(), list[int]()

        def go_on(done: int, total: int) -> bool:
            first.append(done)  # what was known before took no time
            made, spent = done - first[0], time.monotonic() - start
            left = spent / made * (total - done) if made else None
            self._emit(Progress(phase, done, total, left))
            return not self._stop()

        return go_on

    def _answer(self, arms: Mapping[str, Arm], tuned: Mapping[str, Tuned]) -> None:
        """Answers of arms that one engine answers together, from the cache or generated."""
        if self.stopped:
            return
        opened = next((each.opened for each in tuned.values()), self._opened)
        sampling = Sampling(max_new_tokens=self._config.evaluate.max_new_tokens)
        stop_ids = opened.base.stop_ids
        base = voice_of(self._opened.base)
        caches = {
            name: open_cache(tuned[name].voice if name in tuned else base, sampling, stop_ids)
            for name in arms
        }
        phase = f"answering {many(len(self.questions), 'held-out question')} ({', '.join(arms)})"
        said = answer_arms(
            opened.engine,
            arms,
            caches,
            sampling=sampling,
            stop_ids=stop_ids,
            go_on=self._progress(phase),
        )
        self.stopped = said is None
        self.said.update(said or {})
