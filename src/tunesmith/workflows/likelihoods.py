"""How likely does each arm find given tokens? Arms over one base, together in packed streams."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tunesmith.engine.forward import Engine
from tunesmith.engine.head import row_losses
from tunesmith.engine.pack import Row, pack
from tunesmith.errors import ModelError
from tunesmith.evaluate.forgetting.spans import Span

STREAM_TOKENS = 2048
SHARE_TOKENS = 4  # a shorter common beginning is not worth a span of its own

Logs = NDArray[np.float32]  # log-likelihoods of a span's scored tokens, in nats
GoOn = Callable[[int, int], bool]  # told what is done, of how much; False stops


@dataclass(frozen=True, slots=True)
class _Group:
    """Spans that begin alike, by their places, and the tokens that they take in a stream."""

    places: tuple[int, ...]
    begin: int
    tokens: int


def log_likelihoods(
    engine: Engine,
    spans: Sequence[Span],
    adapters: Sequence[str | None],
    *,
    go_on: GoOn = lambda _done, _total: True,
) -> tuple[list[Logs], ...] | None:
    """What each adapter (None: the base) finds of each span, in their order.

    All adapters score a span in the same stream, and what the spans of a group begin with is
    computed once for each. None where ``go_on`` says no before the end. Raises ModelError where
    the scores are no numbers.
    """
    found: tuple[dict[int, Logs], ...] = tuple({} for _ in adapters)
    done = 0
    for groups in _streams(spans, arms=len(adapters)):
        for arm, place, logs in _scored(engine, spans, adapters, groups):
            if not np.isfinite(logs).all():
                raise ModelError(
                    "The model's scores are no numbers any more.",
                    remedy="Train with a lower train.lr.",
                )
            found[arm][place] = logs
        done += sum(len(group.places) for group in groups)
        if not go_on(done, len(spans)) and done < len(spans):
            return None
    return tuple([logs[i] for i in range(len(spans))] for logs in found)


def tokens_of(spans: Sequence[Span]) -> int:
    """Tokens that one adapter computes to score the spans."""
    return sum(group.tokens for group in _groups(spans))


def _streams(spans: Sequence[Span], *, arms: int) -> Iterator[list[_Group]]:
    """Groups that one stream takes, those with like lengths of their beginnings together."""
    stream: list[_Group] = []
    for group in sorted(_groups(spans), key=lambda group: group.begin):
        if stream and arms * sum(each.tokens for each in [*stream, group]) > STREAM_TOKENS:
            yield stream
            stream = []
        stream.append(group)
    if stream:
        yield stream


def _groups(spans: Sequence[Span]) -> Iterator[_Group]:
    places: dict[int, list[int]] = {}
    for place, span in enumerate(spans):
        places.setdefault(span.group, []).append(place)
    for members in places.values():
        begin = min(spans[place].scored for place in members)
        own = sum(len(spans[place].ids) - begin for place in members)
        yield _Group(tuple(members), begin, begin + own)


@torch.no_grad()
def _scored(
    engine: Engine,
    spans: Sequence[Span],
    adapters: Sequence[str | None],
    groups: Sequence[_Group],
) -> Iterator[tuple[int, int, Logs]]:
    """Arm, place and log-likelihoods of every span of a stream."""
    keys = [(arm, p) for arm in range(len(adapters)) for group in groups for p in group.places]
    rows = [
        Row(spans[p].ids, _weights(spans[p]), adapter=adapters[arm], key=key)
        for key, (arm, p) in enumerate(keys)
    ]
    begin = min(group.begin for group in groups)
    share = begin if begin >= SHARE_TOKENS else 0
    batch = pack(rows, share=share, prefixes=engine.prefixes).to(engine.device)
    losses = row_losses(engine.hidden_states(batch), batch, engine.head).cpu().numpy()
    order = [keys[each.key] for each in batch.documents if not each.shared]
    ends = np.cumsum([len(spans[p].ids) - spans[p].scored for _, p in order])
    for (arm, p), logs in zip(order, np.split(-losses, ends[:-1]), strict=True):
        yield arm, p, logs


def _weights(span: Span) -> list[float]:
    return [0.0] * span.scored + [1.0] * (len(span.ids) - span.scored)
