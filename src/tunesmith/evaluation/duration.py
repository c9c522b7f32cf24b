"""How long will an evaluation take? Its work by parts, and the speed of this machine, measured."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.core.numbers import duration, duration_between, pluralize
from tunesmith.engine.forward import Engine
from tunesmith.evaluation.comparison import EXAMPLES, TUNED
from tunesmith.evaluation.likelihoods import ScoredSpan, log_likelihoods
from tunesmith.generation.decoder import Decoder, PrefixGroup, Prompt, common_length
from tunesmith.generation.loop import BEGIN_TOKENS, like_lengths, slots_of

Now = Callable[[], float]
FEW, MANY = 4, 32  # rows of a decode step that is timed
STEPS = 3  # of each kind that are timed, after one that warms up
READ_TOKENS, SPAN_TOKENS = 16, 128  # of each row that is read, and of a text that is scored
SPANS = 4
TALK = 2 / 3


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of a token that is read, of one that is scored too, of a decode step whatever its
    rows, and of each token made in it.
    """

    read: float
    scored: float
    step: float
    made: float


def speed_of(
    engine: Engine,
    prompts: Sequence[Prompt],
    *,
    adapter: str | None = None,
    now: Now = time.perf_counter,
) -> Speed:
    """Read, answer and score rows made of the prompts' tokens, by an adapter or the base."""
    rng, known = random.Random(0), [token for prompt in prompts for token in prompt.ids]

    def text(length: int) -> tuple[int, ...]:
        return tuple(rng.choices(known, k=length))

    many = {i: Prompt(text(READ_TOKENS), adapter) for i in range(MANY)}
    # A step takes as long as texts of the prompts' mean length need, of which little is read.
    length = engine.prefix_length(adapter) + max(READ_TOKENS, len(known) // len(prompts))
    room = length + 2 * (STEPS + 1)
    decoder = Decoder(engine, slots=MANY, capacity=room)
    int(decoder.read({0: many[0]}).argmax())  # a device has computed it only when it is asked for

    def timed(call: Callable[[], object], times: int = 1) -> float:
        start = now()
        for _ in range(times):
            call()
        return (now() - start) / times

    def step(rows: int) -> object:
        return int(decoder.step(dict.fromkeys(range(rows), known[0])).argmax())

    read = timed(lambda: int(decoder.read(many).argmax())) / (MANY * READ_TOKENS)
    decoder.assume(length)
    seconds = {}
    for rows in (FEW, MANY):
        step(rows)
        seconds[rows] = timed(lambda rows=rows: step(rows), STEPS)  # type: ignore[misc]
    made = max(0.0, (seconds[MANY] - seconds[FEW]) / (MANY - FEW))
    spans = [ScoredSpan(text(SPAN_TOKENS), 1, group) for group in range(SPANS)]
    scored = timed(lambda: log_likelihoods(engine, spans, [adapter])) / (SPANS * SPAN_TOKENS)
    return Speed(read, scored, max(0.0, seconds[FEW] - FEW * made), made)


@dataclass(frozen=True, slots=True)
class AnswersToCome:
    """Prompts that are answered in one stream, the tokens that each answer is expected to have,
    and how many an answer has at most. ``read``: tokens of the prompts that are computed.
    """

    prompts: Sequence[Prompt]
    lengths: Sequence[float]
    longest: int
    read: int

    def seconds(self, engine: Engine, speed: Speed) -> float:
        """In as many steps as the longest answer has, or as the slots need for all of them."""
        total = self.read * speed.read
        for rows in like_lengths(engine, self.prompts):
            own = [self.prompts[row] for row in rows]
            lengths = [self.lengths[row] for row in rows]
            longest = max(len(prompt.ids) for prompt in own) + self.longest
            slots = slots_of(engine, own, capacity=longest)
            steps = max(min(self.longest, 1.5 * max(lengths)), sum(lengths) / slots)
            total += steps * speed.step + sum(lengths) * speed.made
        return total


def to_answer(
    prompts: Sequence[Prompt], length: float | Sequence[float], *, longest: int, times: int = 1
) -> AnswersToCome:
    """These prompts, each asked so many ``times`` and read once."""
    lengths = [length] * len(prompts) if isinstance(length, float | int) else list(length)
    cut = [min(each, longest) for each in lengths]
    return AnswersToCome([*prompts] * times, cut * times, longest, tokens_to_read(prompts))


@dataclass(frozen=True, slots=True)
class Again:
    """One arm's questions that are asked again, in rounds, until ``most`` seconds are up."""

    rounds: Sequence[Sequence[AnswersToCome]]
    most: float

    def seconds(self, engine: Engine, speed: Speed) -> float:
        """The round in which the time is up is completed."""
        spent = 0.0
        for each in self.rounds:
            if spent >= self.most:
                break
            spent += sum(answers.seconds(engine, speed) for answers in each)
        return spent


@dataclass(frozen=True, slots=True)
class EvaluationWork:
    """What is still to be done.

    ``scored``: tokens of probes, and ``probes`` the answers to their prompts. ``row_tokens``: of
    rows whose losses are measured. ``singles``: requests one at a time, and their tokens.
    ``answers`` are those of the arms, ``facts`` those about facts. ``scaling`` is a second look
    of probes and the search for the adapter's scale, which come only where they are needed: tokens
    of probes, and answers.
    """

    answers: Sequence[AnswersToCome] = ()
    facts: Sequence[AnswersToCome] = ()
    again: Sequence[Again] = ()
    scored: int = 0
    probes: Sequence[AnswersToCome] = ()
    row_tokens: int = 0
    singles: tuple[int, float] = (0, 0.0)
    scaling: tuple[int, Sequence[AnswersToCome]] = field(default=(0, ()))

    def seconds(self, engine: Engine, speed: Speed) -> tuple[float, float]:
        """Without the search for a scale, and with it."""

        def made(answers: Iterable[AnswersToCome | Again]) -> float:
            return sum(each.seconds(engine, speed) for each in answers)

        requests, tokens = self.singles
        total = (self.scored + self.row_tokens) * speed.scored
        total += made([*self.answers, *self.facts, *self.probes, *self.again])
        total += requests * speed.step + tokens * speed.read
        tokens_scaling, answers = self.scaling
        return total, total + tokens_scaling * speed.scored + made(answers)


def expected_length(arm: str, own: float, longest: int) -> float:
    """Tokens of an arm's mean answer where the data's own have so many.

    What was trained answers as the data does, and the base with examples nearly so; without them it
    talks until something ends it: 61 to 73 % of the room that is left then, in five runs
    (docs/log.md, "How long an evaluation takes").
    """
    if arm == TUNED:
        return min(own, longest)
    own = min(own, longest)
    return min(1.5 * own, longest) if arm == EXAMPLES else own + TALK * (longest - own)


def tokens_to_read(prompts: Sequence[Prompt]) -> int:
    """Tokens of all prompts; what those of a group have in common at the start counts once."""
    groups: dict[PrefixGroup, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.group, []).append(prompt)
    total = 0
    for group in groups.values():
        alike = min((common_length(group[0].ids, other.ids) for other in group[1:]), default=0)
        alike = alike if alike >= BEGIN_TOKENS else 0
        total += alike + sum(len(prompt.ids) - alike for prompt in group)
    return total


def describe(seconds: tuple[float, float], work: EvaluationWork, *, arms: Mapping[str, int]) -> str:
    """`the evaluation takes about 1 to 3 minutes: 600 answers, 200 of them known (base, tuned)`."""
    total, waiting = sum(arms.values()), sum(len(each.prompts) for each in work.answers)
    known = f", {total - waiting:,} of them known" if waiting < total else ""
    probes = f"; {pluralize(work.scored, 'token')} of probes" if work.scored else ""
    asked = sum(len(each.prompts) for each in work.facts)
    facts = f"; {pluralize(asked, 'answer')} about facts" if asked else ""
    prompts = sum(len(each.prompts) for each in work.probes)
    probes += f"; {pluralize(prompts, 'answer')} to probes" if prompts else ""
    rows = pluralize(work.row_tokens, "token")
    rows = f"; {rows} of rows for their losses" if work.row_tokens else ""
    most = sum(each.most for each in work.again)
    again = f"; then at most {duration(most)} of asking again" if most else ""
    about = duration_between(*(max(1.0, each) for each in seconds))
    return (
        f"the evaluation takes about {about}: {pluralize(total, 'answer')}{known} "
        f"({', '.join(arms)}){probes}{facts}{rows}{again}"
    )
