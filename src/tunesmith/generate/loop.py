"""Answers to many prompts at once: prompts are read as packed streams, tokens made together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tunesmith.engine.forward import Engine
from tunesmith.generate.decoder import SHARE_TOKENS, Decoder, Prompt, common_length
from tunesmith.generate.sampling import Sampling, choose, generator_of

SLOTS = 32
READ_TOKENS = 2048  # of prompts at a time
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Generated token ids without the stop token, and why it ended: `stop` or `length`."""

    row: int
    ids: tuple[int, ...]
    ended: str


def generate(
    engine: Engine,
    prompts: Sequence[Prompt],
    *,
    stop_ids: frozenset[int],
    sampling: Sampling,
    seed: int = 0,
    decode: Decode | None = None,
) -> Iterator[Answer]:
    """Answers in the order in which they are finished; ``row`` numbers the prompt.

    Of each ``SLOTS`` prompts that are answered together, a beginning that all share is read once
    for as many as ``READ_TOKENS`` hold.

    ``decode`` is needed for stop texts; the ids then end with the token that completed one.
    A row's answer does not depend on which rows are answered beside it, but for the last bits of
    products of another shape.
    """
    if sampling.stop and decode is None:
        raise ValueError("stop texts need `decode`")
    # Like lengths together: a wave takes as long as its longest prompt and answer.
    order = sorted(
        range(len(prompts)), key=lambda i: (prompts[i].adapter or "", len(prompts[i].ids))
    )
    for start in range(0, len(order), SLOTS):
        wave = order[start : start + SLOTS]
        yield from _wave(_Wave(engine, prompts, wave, sampling), stop_ids, seed, decode)


class _Wave:
    """Prompts that are answered together, slot i holding row rows[i]."""

    def __init__(
        self, engine: Engine, prompts: Sequence[Prompt], rows: Sequence[int], sampling: Sampling
    ) -> None:
        longest = max(
            engine.prefix_length(prompts[row].adapter) + len(prompts[row].ids) for row in rows
        )
        self.decoder = Decoder(engine, slots=len(rows), capacity=longest + sampling.max_new_tokens)
        self.prompts = {slot: prompts[row] for slot, row in enumerate(rows)}
        self.rows, self.sampling = list(rows), sampling
        self.made: list[list[int]] = [[] for _ in rows]


def _wave(
    wave: _Wave, stop_ids: frozenset[int], seed: int, decode: Decode | None
) -> Iterator[Answer]:
    keys = [wave.rows[slot] if p.draw is None else p.draw for slot, p in wave.prompts.items()]
    generators = [generator_of(seed, key) for key in keys]
    active: dict[int, int] = {}
    for group in _groups(wave.prompts):
        scores = wave.decoder.read({slot: wave.prompts[slot] for slot in group})
        for slot, row_scores in zip(group, scores, strict=True):
            active[slot] = choose(row_scores, wave.sampling, generators[slot])
    while True:
        for slot, token in list(active.items()):
            ended = _ended(wave, slot, token, stop_ids, decode)
            if ended:
                del active[slot]
                yield Answer(wave.rows[slot], tuple(wave.made[slot]), ended)
        if not active:
            return
        scores = wave.decoder.step(active)
        for slot, row_scores in zip(list(active), scores, strict=True):
            active[slot] = choose(row_scores, wave.sampling, generators[slot])


def _ended(
    wave: _Wave, slot: int, token: int, stop_ids: frozenset[int], decode: Decode | None
) -> str | None:
    """Append the token unless it is a stop token; why the answer is complete, if it is."""
    made = wave.made[slot]
    if token in stop_ids:
        return "stop"
    made.append(token)
    if decode is not None and wave.sampling.stop:
        text = decode(made)
        if any(stop in text for stop in wave.sampling.stop):
            return "stop"
    return "length" if len(made) >= wave.sampling.max_new_tokens else None


def _groups(prompts: dict[int, Prompt]) -> Iterator[list[int]]:
    """Slots whose prompts are read in one call; a beginning that all of them share counts once."""
    group: list[int] = []
    tokens = shared = 0
    for slot, prompt in prompts.items():
        alike = min(shared, _alike(prompts[group[0]], prompt)) if group else len(prompt.ids)
        alike = alike if alike >= SHARE_TOKENS else 0
        if group and tokens + len(prompt.ids) - len(group) * alike > READ_TOKENS:
            yield group
            group, tokens, alike = [], 0, len(prompt.ids)
        group.append(slot)
        tokens, shared = tokens + len(prompt.ids), alike
    yield group


def _alike(a: Prompt, b: Prompt) -> int:
    """Tokens of two prompts that one reading serves."""
    return common_length(a.ids, b.ids) if a.adapter == b.adapter else 0


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop texts."""
    ends = [at for s in stop if (at := text.find(s)) >= 0]
    return text[: min(ends)] if ends else text
