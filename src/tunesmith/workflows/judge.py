"""Did a run reach its purpose, and at what cost: checks and probes, base against tuned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from tunesmith.evaluate.verdict_text import verdict_text
from tunesmith.methods.adapter import Adapter
from tunesmith.train.events import Event, Notice, Progress
from tunesmith.workflows.answers import Answers, answer, questions_of, score
from tunesmith.workflows.forgetting import Probing, Scores
from tunesmith.workflows.opening import Opened

BASE = "base"


@dataclass(frozen=True, slots=True)
class BaseKnown:
    """What the base answered and found, for other runs over it that ask the same."""

    texts: tuple[str, ...] | None
    scores: Scores | None


class Judge:
    """A run's held-out questions, checks and probes, and what the arms said so far."""

    def __init__(
        self,
        opened: Opened,
        config: RunConfig,
        held: Sequence[Conversation],
        *,
        emit: Callable[[Event], None],
        stop: Callable[[], bool] = lambda: False,
        own_answers: Sequence[str] = (),
    ) -> None:
        """Raises DataError where a check cannot score a row, before anything is trained.

        ``own_answers`` of the training rows are what checks that learn are fitted on.
        """
        self._opened, self._config, self._emit, self._stop = opened, config, emit, stop
        self._own_answers = own_answers
        self.stopped = False
        self.checks = build_checks(config.evaluate.checks)
        wanted = held if self.checks else []
        self.questions = questions_of(wanted, opened.base.tokenizer, most=config.evaluate.rows)
        references = [question.reference for question in self.questions]
        asked = [question.text for question in self.questions]
        require_references(self.checks, references, asked)
        for note in reference_notes(self.checks, references, asked):
            emit(Notice("checks", note))
        self.texts: dict[str, tuple[str, ...]] = {}
        self.answers: Answers | None = None
        self.verdict: Verdict | None = None
        self._probing = self._probes()

    def _probes(self) -> Probing | None:
        """What tells of forgetting; a verdict needs questions first."""
        settings = self._config.evaluate.forgetting
        if settings is None or not self.questions:
            return None

        def notice(text: str) -> None:
            self._emit(Notice("forgetting", text))

        return Probing(self._opened, settings, seed=self._config.train.seed, notice=notice)

    @property
    def base(self) -> BaseKnown:
        """What the base said so far; another run's may be put here."""
        scores = self._probing.base if self._probing else None
        return BaseKnown(self.texts.get(BASE), scores)

    @base.setter
    def base(self, known: BaseKnown) -> None:
        if known.texts is not None:
            self.texts[BASE] = known.texts
        if self._probing and known.scores is not None:
            self._probing.base = known.scores

    def answer_before(self) -> None:
        """Let the base answer now, as training will change it."""
        self._answer(BASE, None)
        if self._probing and not self.stopped:
            self._probing.score_base(go_on=self._progress("scoring probes of forgetting (base)"))
            self.stopped = self._probing.base is None

    def judge(self, adapter: Adapter) -> Answers | None:
        """Both arms' answers under every check, with the verdict kept; None without checks or
        held-out rows, or when a stop was asked for.
        """
        if not self.questions:
            return None
        if BASE not in self.texts:
            self._answer(BASE, None)
        name = adapter.name if adapter.frozen_base else None
        self._answer(TUNED, name)
        forgetting = self._forgetting(name)
        if self.stopped:
            return None
        seed = self._config.train.seed
        checks = fit_checks(self.checks, own=self._own_answers, base=self.texts[BASE])
        self.answers = score(self.questions, self.texts, checks, seed=seed)
        for name, arms in self.answers.scored.items():
            for arm, scored in arms.items():
                if scored.note:
                    self._emit(Notice("checks", f"check `{name}`, {arm}: {scored.note}"))
        self.verdict = judge(self.answers.summary, forgetting=forgetting)
        return self.answers

    def to_json(self) -> dict[str, object] | None:
        """The evaluate document; None where nothing was judged."""
        if self.answers is None or self.verdict is None:
            return None
        goal, forgetting = self._config.goal, self.verdict.forgetting
        text = verdict_text(self.verdict)
        verdict = {"answer": self.verdict.answer, "text": text, "goal": goal}
        return {
            "verdict": {**verdict, **self.verdict.to_json()},
            **self.answers.to_json(),
            "forgetting": [each.to_json() for each in forgetting.findings] if forgetting else None,
        }

    def _forgetting(self, adapter: str | None) -> Forgetting | None:
        if self._probing is None or self.stopped:
            return None
        go_on = self._progress("scoring probes of forgetting")
        found = self._probing.forgetting(adapter, go_on=go_on)
        self.stopped = self.stopped or found is None
        return found

    def _progress(self, phase: str) -> Callable[[int, int], bool]:
        """Tells how far a phase is; False once a stop is asked for."""

        def go_on(done: int, total: int) -> bool:
            self._emit(Progress(phase, done, total))
            return not self._stop()

        return go_on

    def _answer(self, arm: str, adapter: str | None) -> None:
        total = len(self.questions)
        if not total or self.stopped:
            return
        go_on = self._progress(f"answering {many(total, 'held-out question')} ({arm})")
        go_on(0, total)
        texts = answer(
            self._opened,
            self.questions,
            adapter=adapter,
            settings=self._config.evaluate,
            go_on=lambda done: go_on(done, total),
        )
        if texts is None:
            self.stopped = True
        else:
            self.texts[arm] = texts
