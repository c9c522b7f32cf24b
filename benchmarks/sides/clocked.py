"""How is a transformers Trainer timed? From the start of each step to the end of its update."""

import time
from typing import Any

from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback

from benchmarks.measure import StepLog


class _Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Forward, backward, clipping and optimizer; collating and logging are left out."""

    def __init__(self, log: StepLog) -> None:
        self.log, self.start = log, 0.0

    def on_step_begin(self, *_args: Any, **_others: Any) -> None:
        self.start = time.perf_counter()

    def on_step_end(self, *_args: Any, **_others: Any) -> None:
        self.log.seconds.append(time.perf_counter() - self.start)


def clocked(trainer_class: type[Trainer]) -> type[Trainer]:
    """The Trainer with a ``step_log``; it takes its rows in order, so that all sides agree.

    ``step_log.tokens`` are those of the attention mask, or all where there is none (packed rows).
    """

    class Clocked(trainer_class):  # type: ignore[misc]
        def __init__(self, *args: Any, **others: Any) -> None:
            self.step_log = StepLog()
            super().__init__(*args, **others)
            self.add_callback(_Clock(self.step_log))

        def training_step(self, model: Any, inputs: Any, *args: Any, **others: Any) -> Any:
            mask = inputs.get("attention_mask")
            ids = inputs["input_ids"]
            self.step_log.tokens.append(ids.numel() if mask is None else int(mask.sum()))
            loss = super().training_step(model, inputs, *args, **others)
            self.step_log.losses.append(float(loss))
            return loss

        def _get_train_sampler(self, *_args: Any, **_others: Any) -> Sampler[int]:
            return SequentialSampler(self.train_dataset)

    return Clocked
