"""How the next token is chosen from its scores."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.device import send

MIN_TEMPERATURE = 1e-37
UNITS = 2**31  # of a distribution: a drawn number times their sum is a 64-bit integer


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature 0 takes the likeliest token; ``stop`` texts end an answer and are cut off."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()

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
    units, index = (p * UNITS).long().sort(dim=-1, descending=True, stable=True)
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
    if sampling.top_p < 1:
        ordered, index = p.sort(descending=True, stable=True)
        beyond = ordered.cumsum(0) - ordered >= sampling.top_p
        beyond[0] = False  # also where top_p is 0 in 32 bits
        p = torch.zeros_like(p).index_put_((index,), ordered.masked_fill(beyond, 0.0))
    return int(torch.multinomial(p, 1, generator=generator))
