"""TensorBoard files beside metrics.jsonl, for those who look at curves there (extra)."""

from collections.abc import Callable
from pathlib import Path

from tunesmith.errors import ConfigError
from tunesmith.train.events import Event, HeldOut, StepDone


def curves_of(folder: Path) -> Callable[[Event], None]:
    """A subscriber that writes a run's losses, rate and speed; ConfigError without the extra."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "train.tensorboard needs the package tensorboard, which is not installed.",
            remedy="Install it with `pip install tunesmith[tensorboard]`, or leave the key out.",
        ) from None
    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(event: Event) -> None:
        if not isinstance(event, StepDone | HeldOut):
            return
        values = {"loss/held_out": event.loss}
        if isinstance(event, StepDone):
            values = {
                "loss/train": event.loss,
                "lr": event.lr,
                "grad_norm": event.grad_norm,
                "tokens_per_second": event.tokens_per_second,
            }
        for name, value in values.items():
            writer.add_scalar(name, value, event.step)
        writer.flush()

    return write
