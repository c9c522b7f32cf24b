"""How the next token is chosen from its scores."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunesmith.engine.device import send

MIN_TEMPERATURE = 1e-37
UNITS = 2**31  # of a distribution: a drawn number times their sum is a 64-bit integer


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature 0 takes the likeliest token; ``stop`` texts end an answer and are cut off.

    Draws are among the ``top_k`` likeliest tokens (0: all), and among those that are at least
    ``min_p`` times as likely as the likeliest (arXiv 2407.01082); ``top_p`` is a share of these.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()
    top_k: int = 0
    min_p: float = 0.0

    @property
    def is_greedy(self) -> bool:
        """Whether it always takes the likeliest token: no number of 32 bits is that cold."""
        return self.temperature < MIN_TEMPERATURE

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_new_tokens < 1:
            raise ValueError(
                f"temperature {self.temperature} must be at least 0, top_p {self.top_p} above 0 "
                f"and at most 1, max_new_tokens {self.max_new_tokens} at least 1"
            )
        if self.top_k < 0 or not 0 <= self.min_p <= 1:
            raise ValueError(
                f"top_k {self.top_k} must be at least 0, min_p {self.min_p} between 0 and 1"
            )

    @property
    def rule(self) -> tuple[float, ...]:
        """Rows of the same rule are drawn together."""
        if self.is_greedy:
            return (0.0,)
        return (self.temperature, self.top_p, float(self.top_k), self.min_p)


@dataclass(frozen=True, slots=True)
class Penalties:
    """What changes a row's scores by the tokens that are in its text already, and by token.

    ``presence`` is subtracted once from the score of each token of the answer so far,
    ``frequency`` once for each time that it is in it. ``repetition`` divides the scores above 0 of
    tokens of prompt and answer, and multiplies the others (arXiv 1909.05858, section 4.1).
    ``bias`` is added to the scores of single tokens first.
    """

    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    bias: Mapping[int, float] = field(default_factory=dict)

    def apply(self, scores: Tensor, prompt: Sequence[int], made: Sequence[int]) -> Tensor:
        """Scores [V] as they are after these tokens of the prompt and of the answer."""
        if self.bias:
            ids, values = torch.tensor([*self.bias]), torch.tensor([*self.bias.values()])
            at, more = send([ids, values], scores.device)
            scores = scores.index_add(0, at, more.to(scores.dtype))
        if self.repetition != 1:
            (at,) = send([torch.tensor(sorted({*prompt, *made}))], scores.device)
            found = scores[at]
            found = torch.where(found > 0, found / self.repetition, found * self.repetition)
            scores = scores.index_copy(0, at, found)
        if made and (self.presence or self.frequency):
            counts = Counter(made)
            amounts = torch.tensor([self.presence + self.frequency * n for n in counts.values()])
            at, less = send([torch.tensor([*counts]), amounts], scores.device)
            scores = scores.index_add(0, at, -less.to(scores.dtype))
        return scores


def generator_of(seed: int, row: int) -> torch.Generator:
    """A row's own random numbers, so that an answer does not depend on the rows beside it."""
    digest = hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def choose_each(
    scores: Tensor, sampling: Sampling, generators: Sequence[torch.Generator | None]
) -> list[int]:
    """A token id from each row of scores [B, V], with the row's own random numbers."""
    if sampling.is_greedy:
        best: list[int] = scores.argmax(-1).tolist()
        return best
    if scores.device.type != "cpu":
        draws = [torch.randint(UNITS, (), generator=generator) for generator in generators]
        (drawn,) = send([torch.stack(draws)], scores.device)
        chosen: list[int] = draw_each(scores, sampling, drawn).tolist()
        return chosen
    rows = zip(scores, generators, strict=True)
    return [choose(row, sampling, generator) for row, generator in rows]


def draw_each(scores: Tensor, sampling: Sampling, drawn: Tensor) -> Tensor:
    """A token id [B] from each row of scores [B, V], where the distribution reaches ``drawn`` [B].

    For accelerators, which are not waited for: ``drawn`` are numbers below UNITS, evenly
    distributed. Shares are counted in whole units: sums of integers do not depend on their order,
    and a token below half a billionth is never drawn. The same nucleus as ``choose``.
    """
    p = torch.softmax(scores.float() / sampling.temperature, -1)
    if sampling.min_p:
        p = p.masked_fill(p < sampling.min_p * p.amax(-1, keepdim=True), 0)
    units, index = (p * UNITS).long().sort(dim=-1, descending=True, stable=True)
    if sampling.top_k:
        units[:, sampling.top_k :] = 0
    if sampling.top_p < 1:
        before = units.cumsum(-1) - units
        limit = (units.sum(-1, keepdim=True) * sampling.top_p).long().clamp(min=1)
        units = units.masked_fill(before >= limit, 0)
    ends = units.cumsum(-1)
    target = drawn[:, None] * ends[:, -1:] // UNITS
    return index.gather(1, torch.searchsorted(ends, target, right=True))[:, 0]


def choose(scores: Tensor, sampling: Sampling, generator: torch.Generator | None) -> int:
    """A token id from scores [V]; nucleus sampling is arXiv 1904.09751, section 3.1."""
    if sampling.is_greedy:
        return int(scores.argmax())
    if scores.device.type != "cpu":
        return choose_each(scores[None], sampling, [generator])[0]
    scores = scores.float()
    p = torch.softmax((scores - scores.max()) / sampling.temperature, -1)  # no overflow
    if sampling.min_p:
        p = p.masked_fill(p < sampling.min_p * p.max(), 0.0)
    if sampling.top_k:
        kept = p.sort(descending=True, stable=True).indices[: sampling.top_k]
        p = torch.zeros_like(p).index_put_((kept,), p[kept])
    if sampling.top_p < 1:
        ordered, index = p.sort(descending=True, stable=True)
        whole = p.sum() if sampling.top_k or sampling.min_p else 1.0
        beyond = ordered.cumsum(0) - ordered >= sampling.top_p * whole
        beyond[0] = False  # also where top_p is 0 in 32 bits
        p = torch.zeros_like(p).index_put_((index,), ordered.masked_fill(beyond, 0.0))
    return int(torch.multinomial(p, 1, generator=generator))
