"""What is asked of a server's engine, and what it reports while it answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunesmith.core.errors import DataError, MemoryRefusal, TunesmithError
from tunesmith.data.thinking import ThinkingText
from tunesmith.generation.answer_text import Decode, StoppingText
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.running import Constraint, Running
from tunesmith.generation.sampling import Penalties, Sampling, generator_of


class Busy(TunesmithError):
    """A request that was not taken: the queue is full. ``seconds``: when to try again."""

    code = "busy"

    def __init__(self, message: str, *, seconds: int) -> None:
        super().__init__(message, remedy=f"Try again in {seconds} s.")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token's log-probability, in nats, and those of the likeliest ones, the first one first."""

    value: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class MadeToken:
    """One token more, and the text that is certain with it; ``score`` where it was requested.

    ``thinking`` is what is certain of the thinking before what is said.
    """

    token: int
    text: str
    score: TokenScore | None = None
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer: `stop`, `length`, `cancelled`, `timeout` or `error`.

    ``text`` and ``thinking`` are the rest that was held back, ``reused`` how many tokens of the
    prompt were read for an earlier one.
    """

    reason: str
    text: str = ""
    reused: int = 0
    error: TunesmithError | None = None
    thinking: str = ""


Listener = Callable[[MadeToken | AnswerEnd], object]


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A prompt to be answered, and how.

    ``client`` is whose turn it is: clients take turns. ``seconds``: after so long it ends with what
    there is. ``top_scores``: how many of the likeliest tokens are reported with each (None: no
    scores). ``decode`` makes text of its tokens, of which ``thinking`` takes the thinking apart.
    """

    prompt: Prompt
    sampling: Sampling
    decode: Decode
    seed: int = 0
    client: str = ""
    seconds: float | None = None
    top_scores: int | None = None
    constraint: Constraint | None = None
    penalties: Penalties | None = None
    thinking: ThinkingText | None = None


@dataclass(slots=True, eq=False)
class AnswerJob:
    """A request on its way, as the engine keeps it. ``cancelled`` may be set by any thread."""

    request: AnswerRequest
    listener: Listener
    row: Running
    text: StoppingText
    submitted: float = field(default_factory=time.monotonic)
    started: float | None = None
    reused: int = 0
    cancelled: bool = False

    @property
    def is_late(self) -> bool:
        """Whether it has taken longer than it may."""
        seconds = self.request.seconds
        return seconds is not None and time.monotonic() - self.submitted > seconds

    def end(self, reason: str, error: TunesmithError | None) -> None:
        """Report the end, with what was held back."""
        said = self.text.end()
        self.listener(AnswerEnd(reason, said, self.reused, error, self.text.thought))


def job_of(request: AnswerRequest, listener: Listener) -> AnswerJob:
    """A new job."""
    prompt, sampling = request.prompt, request.sampling
    generator = None
    if not sampling.is_greedy:
        generator = generator_of(request.seed, prompt.draw or 0)
    row = Running(prompt, sampling, generator, request.constraint, request.penalties)
    text = StoppingText(request.decode, sampling.stop, request.thinking)
    return AnswerJob(request, listener, row, text)


def no_memory(positions: int) -> MemoryRefusal:
    """A row's text does not fit, even alone."""
    return MemoryRefusal(
        f"There is no memory for {positions:,} positions.",
        remedy="Shorten the prompt, or give the server more memory (--cache-gb).",
    )


def no_token() -> TunesmithError:
    """Nothing can be chosen from a row's scores."""
    return TunesmithError(
        "The model's scores hold no distribution.", remedy="Try it in another dtype.", code="scores"
    )


def not_followed(fault: str) -> DataError:
    """A row's constraint allows nothing any more."""
    return DataError(
        f"The answer cannot follow its schema any further: {fault}.",
        remedy="Give a simpler one.",
        code="schema",
    )


def score_of(scores: Tensor, token: int, top: int) -> TokenScore:
    """The log-probability of a token by scores [V], whatever it was drawn by."""
    logs = torch.log_softmax(scores.float(), -1)
    values, tokens = logs.topk(min(top, len(logs)))
    pairs = zip(tokens.tolist(), values.tolist(), strict=True)
    return TokenScore(float(logs[token]), tuple(pairs))
