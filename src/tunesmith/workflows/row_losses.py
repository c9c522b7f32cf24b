"""The loss of each held-out row under an adapter."""

from collections.abc import Callable, Iterator

import torch

from tunesmith.engine.head import row_losses
from tunesmith.engine.pack import Row, pack
from tunesmith.train.batches import micro_batches
from tunesmith.train.job import Rows
from tunesmith.workflows.opening import Opened

TOKENS = 1792


@torch.no_grad()
def losses_of_rows(
    opened: Opened, rows: Rows, *, adapter: str | None, go_on: Callable[[int], bool]
) -> list[float] | None:
    """Mean loss of each row in nats per supervised token, in the rows' order.

    ``go_on`` is told how many rows are done; None where it says no before the last one.
    """
    found: dict[int, float] = {}
    for group in micro_batches(tuple(range(len(rows))), rows.lengths, tokens=TOKENS):
        found.update(_losses(opened, rows, group, adapter))
        if not go_on(len(found)) and len(found) < len(rows):
            return None
    return [found[i] for i in range(len(rows))]


def _losses(
    opened: Opened, rows: Rows, group: tuple[int, ...], adapter: str | None
) -> Iterator[tuple[int, float]]:
    engine = opened.engine
    packable = [
        Row(rows[i].ids.tolist(), rows[i].weights.tolist(), adapter=adapter, key=i) for i in group
    ]
    # Without shared beginnings the labels stand in the order of the rows.
    batch = pack(packable, prefixes=engine.prefixes).to(engine.device)
    losses = row_losses(engine.hidden_states(batch), batch, engine.head).double() * batch.weights
    counts = [sum(1 for weight in row.weights[1:] if weight) for row in packable]
    parts = zip(torch.split(losses, counts), torch.split(batch.weights, counts), strict=True)
    for row, (sums, weights) in zip(group, parts, strict=True):
        yield row, float(sums.sum() / weights.sum())
