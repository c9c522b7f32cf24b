"""About how long will judging take? By the speed of a few prompts that are read for it now."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.numbers import duration, duration_between, pluralize
from tunesmith.engine.forward import Engine
from tunesmith.generation.decoder import Decoder, PrefixGroup, Prompt, common_length
from tunesmith.generation.loop import BEGIN_TOKENS

PROMPTS, TOKENS = 8, 32  # that are read to measure the speed

Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds that a token of a prompt takes, and one of an answer beside a few others."""

    read: float
    made: float


@dataclass(frozen=True, slots=True)
class Measuring:
    """What measures beside the verdict are still to compute: tokens of rows whose losses are
    measured, and answers about facts.
    """

    tokens: int = 0
    facts: int = 0


NONE = Measuring()


@dataclass(frozen=True, slots=True)
class AnsweringWork:
    """What is to be done; ``expected`` and ``longest`` are tokens of an answer.

    ``scored`` are tokens of the probes of all arms that are asked, ``timed`` the tokens that
    single requests read and make, ``again`` the seconds in which questions are asked again.
    """

    waiting: Sequence[Prompt]
    expected: float
    longest: int
    scored: int = 0
    measuring: Measuring = NONE
    timed: int = 0
    again: float = 0.0

    def seconds(self, speed: Speed) -> tuple[float, float]:
        """If answers are as long as those of the data, and if all are as long as they may be."""
        read = tokens_to_read(self.waiting) + self.scored + self.measuring.tokens + self.timed
        fixed = read * speed.read
        answers = (len(self.waiting) + self.measuring.facts) * speed.made
        return fixed + answers * min(self.expected, self.longest), fixed + answers * self.longest


def speed_of(engine: Engine, prompts: Sequence[Prompt], *, now: Now = time.perf_counter) -> Speed:
    """Read the beginnings of a few prompts and answer them by two tokens; the first warms up."""
    few = {i: Prompt(prompt.ids[:TOKENS]) for i, prompt in enumerate(prompts[:PROMPTS])}
    decoder = Decoder(engine, slots=len(few), capacity=TOKENS + 2)
    int(decoder.read({0: few[0]}).argmax())  # a device has computed it only when it is asked for
    start = now()
    int(decoder.read(few).argmax())
    read = now() - start
    tokens = dict.fromkeys(few, few[0].ids[0])
    int(decoder.step(tokens).argmax())
    start = now()
    int(decoder.step(tokens).argmax())
    made = now() - start
    return Speed(read / sum(len(prompt.ids) for prompt in few.values()), made / len(few))


def tokens_to_read(prompts: Sequence[Prompt]) -> int:
    """Tokens of all prompts, those that the prompts of a kin begin with alike counted once."""
    kins: dict[PrefixGroup, list[Prompt]] = {}
    for prompt in prompts:
        kins.setdefault(prompt.group, []).append(prompt)
    total = 0
    for group in kins.values():
        alike = min((common_length(group[0].ids, other.ids) for other in group[1:]), default=0)
        alike = alike if alike >= BEGIN_TOKENS else 0
        total += alike + sum(len(prompt.ids) - alike for prompt in group)
    return total


def describe(seconds: tuple[float, float], work: AnsweringWork, *, arms: Mapping[str, int]) -> str:
    """`judging takes about 1 to 3 minutes: 600 answers to make (200 known) by base, tuned`."""
    total, waiting = sum(arms.values()), len(work.waiting)
    known = f", {total - waiting:,} of them known" if waiting < total else ""
    probes = f"; {pluralize(work.scored, 'token')} of probes" if work.scored else ""
    more = work.measuring
    facts = f"; {pluralize(more.facts, 'answer')} about facts" if more.facts else ""
    rows = f"; {pluralize(more.tokens, 'token')} of rows for their losses" if more.tokens else ""
    again = f"; then at most {duration(work.again)} of asking again" if work.again else ""
    about = duration_between(*(max(1.0, each) for each in seconds))
    return (
        f"judging takes about {about}: {pluralize(total, 'answer')}{known} "
        f"({', '.join(arms)}){probes}{facts}{rows}{again}"
    )
