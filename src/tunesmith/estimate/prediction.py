"""A prediction of what training takes, and how it compares with what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.core.numbers import bytes_text


@dataclass(frozen=True, slots=True)
class Prediction:
    """Bytes of one device at the peak (with the process on a processor) and by part, seconds a
    step; None of these where this machine was not measured (`tunesmith plan` does that).
    """

    peak_bytes: int
    parts: Mapping[str, int]
    step_seconds: float | None

    @property
    def text(self) -> str:
        """As `tunesmith plan` has it, beside what was measured; its parts are in the document."""
        text = f"predicted by the base's shape alone: {bytes_text(self.peak_bytes)}"
        return text if self.step_seconds is None else f"{text}, {self.step_seconds:.2f} s a step"


@dataclass(frozen=True, slots=True)
class Compared:
    """A prediction beside what the steps took: bytes at their peak, seconds of one."""

    prediction: Prediction
    peak_bytes: int
    step_seconds: float | None

    def to_json(self) -> dict[str, object]:
        """What the run's document keeps, as `plan`."""
        return {
            "predicted_bytes": self.prediction.peak_bytes,
            "measured_bytes": self.peak_bytes,
            "predicted_step_seconds": self.prediction.step_seconds,
            "measured_step_seconds": self.step_seconds,
            "bytes": dict(self.prediction.parts),
        }

    @property
    def text(self) -> str:
        """`measured 2.2 GB against 2.1 GB predicted (+5 %)`, and the same of a step's seconds."""
        wanted, expected = self.prediction.step_seconds, self.prediction.peak_bytes
        found, size = bytes_text(self.peak_bytes), bytes_text(expected)
        change = f"{100 * (self.peak_bytes / expected - 1):+.0f}"
        if self.step_seconds is None or wanted is None:
            return f"measured {found} against {size} predicted ({change} %)"
        off = f"{100 * (self.step_seconds / wanted - 1):+.0f}"
        return (
            f"measured {found} against {size} predicted ({change} %), {self.step_seconds:.2f} s a "
            f"step against {wanted:.2f} s ({off} %)"
        )
