"""Which layers lose an adapter's prefix to their sliding window, and from which length on."""

from collections import Counter
from dataclasses import dataclass

from tunesmith.counts import many
from tunesmith.engine.families import layer_windows
from tunesmith.engine.forward import Engine


@dataclass(frozen=True, slots=True)
class Narrow:
    """``layers`` of the base's ``of`` layers see the last ``window`` positions only.

    A prefix stands at positions 0..P-1 and is given no other rule than a text there.
    """

    layers: int
    of: int
    window: int
    prefix: int

    @property
    def length(self) -> int:
        """Tokens, virtual ones aside, of the longest document whose end sees the whole prefix."""
        return max(0, self.window - self.prefix)

    def __str__(self) -> str:
        """What happens, for people."""
        length = many(self.length, "token")
        longer = f"documents of more than {length}" if self.length else "any document"
        return (
            f"{self.layers} of {many(self.of, 'layer')} see only the last "
            f"{many(self.window, 'token')}: in {longer} they lose the "
            f"{many(self.prefix, 'virtual token')} one by one, and from token {self.window:,} on "
            "they see none of them"
        )


def narrow_layers(engine: Engine, adapter: str) -> list[Narrow]:
    """The base's windows with their layers; none where the adapter has no prefix."""
    prefix = engine.prefix_length(adapter)
    if not prefix:
        return []
    windows = layer_windows(engine.model.config)
    counts = Counter(window for window in windows if window is not None)
    return [Narrow(count, len(windows), window, prefix) for window, count in counts.items()]
