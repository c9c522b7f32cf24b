"""judge: what does another model think of the answer, by a rubric?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config.checks import JudgeSettings
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import CannotScore, Case, Check, Figures, trimmed
from tunesmith.evaluation.checks.judge_prompts import (
    compare_messages,
    grade_messages,
    read_grade,
    read_preference,
)
from tunesmith.evaluation.endpoint import (
    Endpoint,
    EndpointAddress,
    EndpointReply,
    EndpointRequest,
    Messages,
    NoReply,
    open_endpoint,
)

SHOWN = 80


def judge_check(settings: JudgeSettings) -> Check:
    """A grade as 0..1, or the preference over the reference: 1 better, 0.5 as good, 0 worse.

    A comparison is asked twice, with the places changed; a judge that then prefers the same place
    has no preference. Raises ConfigError where the rubric, the key or the library is missing.
    """
    server = EndpointAddress(
        f"The check `{settings.kind}`",
        settings.model,
        settings.base_url,
        settings.key,
        settings.timeout_seconds,
        settings.tries,
        settings.parallel,
    )
    judge = _Judge(
        open_endpoint(server, "judge"),
        _rubric(settings.rubric),
        settings.mode == "compare",
        settings.max_tokens,
    )
    return Check(
        rule=judge.score,
        needs="text" if judge.compares else None,
        aggregate=judge.figures,
        prepare=judge.prepare,
        obstacle=judge.endpoint.obstacle,
        takes_references=False,
    )


@dataclass(frozen=True, slots=True)
class _Judge:
    """The judge and its rubric; ``compares`` with the reference, or grades each answer alone."""

    endpoint: Endpoint
    rubric: str
    compares: bool
    max_tokens: int

    def prepare(self, cases: Sequence[Case]) -> None:
        """Ask for all cases, a few at once; a failure is reported when its case is scored."""
        asked = [case for case in cases if case.answer.strip() and case.question is not None]
        self.endpoint.ask_all([each for case in asked for each in self._requests(case)])

    def score(self, case: Case) -> float:
        """The grade or the preference; raises CannotScore where the judge gives none."""
        asked = self._requests(case)
        if not self.compares:
            return self._read(asked[0], read_grade)
        if not asked:  # the answer is the reference
            return 0.5
        first, second = (self._read(each, read_preference) for each in asked)
        return (first + 1 - second) / 2

    def figures(self, cases: Sequence[Case]) -> Figures:
        """What the replies cost; of comparisons also how often a place was preferred."""
        asked = [self._requests(case) for case in cases if case.answer.strip()]
        replies = [[self.endpoint.ask(each) for each in of_case] for of_case in asked]
        costs = _costs([reply for of_case in replies for reply in of_case])
        if not self.compares:
            return costs
        return {**costs, "preferred_a_place": sum(map(_prefers_a_place, replies))}

    def _requests(self, case: Case) -> tuple[EndpointRequest, ...]:
        if case.question is None:
            raise CannotScore("the judge needs the question, and there is none")
        if not self.compares:
            return self._asked(grade_messages(self.rubric, case.question, case.answer))
        if trimmed(case.answer) == trimmed(case.wanted):
            return ()
        return self._asked(
            compare_messages(self.rubric, case.question, case.answer, case.wanted),
            compare_messages(self.rubric, case.question, case.wanted, case.answer),
        )

    def _asked(self, *messages: Messages) -> tuple[EndpointRequest, ...]:
        return tuple(EndpointRequest(each, self.max_tokens) for each in messages)

    def _read(self, asked: EndpointRequest, read: Callable[[str], float | None]) -> float:
        try:
            reply = self.endpoint.ask(asked)
        except NoReply as error:
            raise CannotScore(str(error)) from None
        found = read(reply.text)
        if found is None:
            self.endpoint.forget(asked)
            end = " ".join(reply.text.split())[-SHOWN:]
            raise CannotScore(f"the judge's reply has no verdict; it ends: {end!r}")
        return found


def _rubric(text: str) -> str:
    """The rubric itself, or what its file holds; ConfigError for a file that cannot be read."""
    is_file = len(text.split()) == 1  # no rubric is one word
    try:
        rubric = Path(text).read_text(encoding="utf-8-sig") if is_file else text
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The judge's rubric {text} cannot be read: {error}.",
            remedy="Write the rubric itself under `rubric`, or name its file.",
        ) from None
    if not rubric.strip():
        raise ConfigError(f"The judge's rubric {text} is empty.", remedy="Say what is good.")
    return rubric.strip()


def _prefers_a_place(replies: Sequence[EndpointReply]) -> bool:
    """Whether the judge chose the same place twice, whichever answer was there."""
    found = {read_preference(reply.text) for reply in replies}
    return bool(replies) and found in ({1.0}, {0.0})


def _costs(replies: Sequence[EndpointReply]) -> dict[str, int]:
    """Tokens of this run's own requests, and how many were remembered from earlier ones."""
    sent = [reply for reply in replies if not reply.remembered]
    return {
        "requests": len(sent),
        "remembered": len(replies) - len(sent),
        "prompt_tokens": sum(reply.prompt_tokens for reply in sent),
        "completion_tokens": sum(reply.completion_tokens for reply in sent),
    }
