"""Retention: documents in every step whose next-token distributions stay those of the base.

The loss is the task's and ``kl_weight`` times the mean of KL(base || tuned) over their tokens,
as in distillation (Hinton et al. 2015, arXiv 1503.02531, with the base as the teacher; Li and
Hoiem 2016, arXiv 1606.09282, for tasks learned before).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.rows import TokenRow
from tunesmith.engine.forward import Engine
from tunesmith.engine.pack import Row, pack
from tunesmith.training.steps import StepRows

DRAWN = 0x7265  # keeps these draws apart from those of the rows
READ_TOKENS = 1792


@dataclass(frozen=True, slots=True, eq=False)
class Retention:
    """Retention documents, the base's last hidden states [n, D] of each, and how much they count.

    ``share``: their tokens in a step, by those of its rows.
    """

    documents: tuple[TokenRow, ...]
    states: tuple[Tensor, ...]
    kl_weight: float
    share: float
    seed: int

    def drawn(self, step: int, *, tokens: int) -> StepRows:
        """The documents of a step whose rows have so many tokens: whole ones, and at least one.

        A function of the seed and the step alone, so that a resumed run draws the same.
        """
        rng = np.random.default_rng([self.seed, step, DRAWN])
        order = rng.permutation(len(self.documents)).tolist()
        lengths = [len(document.ids) for document in self.documents]
        room, chosen = self.share * tokens, []
        for i in order:
            if lengths[i] <= room:
                chosen.append(i)
                room -= lengths[i]
        return tuple(chosen) or (min(order, key=lengths.__getitem__),)


@torch.no_grad()
def teacher_states(
    engine: Engine, documents: Sequence[TokenRow], *, phase: PhaseProgress = UNSEEN
) -> tuple[Tensor, ...]:
    """The base's last hidden states [n, D] of each document, without any adapter."""
    states: list[Tensor] = []
    group: list[TokenRow] = []

    def read() -> None:
        batch = pack([Row(each.ids.tolist(), [0.0] * len(each.ids)) for each in group])
        hidden = engine.hidden_states(batch.to(engine.device))
        states.extend(torch.split(hidden, [len(each.ids) for each in group]))
        phase.advance(len(group))
        group.clear()

    for document in documents:
        if sum(len(each.ids) for each in group) + len(document.ids) > READ_TOKENS and group:
            read()
        group.append(document)
    if group:
        read()
    return tuple(states)
