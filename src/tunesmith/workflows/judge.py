"""Did a run reach its purpose: its checks on held-out questions, base against tuned."""

from collections.abc import Callable, Sequence

from tunesmith.config import RunConfig
from tunesmith.counts import many
from tunesmith.data.rows import Conversation
from tunesmith.evaluate.checks.fitting import fit_checks
from tunesmith.evaluate.checks.protocol import require_references
from tunesmith.evaluate.checks.references import reference_notes
from tunesmith.evaluate.checks.table import build_checks
from tunesmith.evaluate.summary import TUNED
from tunesmith.methods.adapter import Adapter
from tunesmith.train.events import Event, Notice, Progress
from tunesmith.workflows.answers import Answers, answer, questions_of, score
from tunesmith.workflows.opening import Opened

BASE = "base"


class Judge:
    """A run's held-out questions and checks, and the answers that were given so far."""

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

    def answer_before(self) -> None:
        """Let the base answer now, as training will change it."""
        self._answer(BASE, None)

    def judge(self, adapter: Adapter) -> Answers | None:
        """Both arms' answers under every check; None without checks or held-out rows, or when
        a stop was asked for.
        """
        if not self.questions:
            return None
        if BASE not in self.texts:
            self._answer(BASE, None)
        self._answer(TUNED, adapter.name if adapter.frozen_base else None)
        if self.stopped:
            return None
        seed = self._config.train.seed
        checks = fit_checks(self.checks, own=self._own_answers, base=self.texts[BASE])
        self.answers = score(self.questions, self.texts, checks, seed=seed)
        for name, arms in self.answers.scored.items():
            for arm, scored in arms.items():
                if scored.note:
                    self._emit(Notice("checks", f"check `{name}`, {arm}: {scored.note}"))
        return self.answers

    def _answer(self, arm: str, adapter: str | None) -> None:
        total = len(self.questions)
        if not total or self.stopped:
            return
        phase = f"answering {many(total, 'held-out question')} ({arm})"
        self._emit(Progress(phase, 0, total))

        def go_on(done: int) -> bool:
            self._emit(Progress(phase, done, total))
            return not self._stop()

        texts = answer(
            self._opened,
            self.questions,
            adapter=adapter,
            settings=self._config.evaluate,
            go_on=go_on,
        )
        if texts is None:
            self.stopped = True
        else:
            self.texts[arm] = texts
