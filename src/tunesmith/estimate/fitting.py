"""What of a training is still to be chosen so that it fits on a device, and what would help."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tunesmith.config.methods import AnyMethod, needs_four_bit
from tunesmith.config.run import RECOMPUTE, OptimizerKind, Recompute
from tunesmith.core.errors import ConfigError
from tunesmith.core.numbers import bytes_text, pluralize
from tunesmith.engine.shape import ModelShape
from tunesmith.estimate.devices import Device
from tunesmith.estimate.memory import Memory, Setup, base_memory, memory_of
from tunesmith.methods.sizes import TrainedSize, auto_tokens, trained_size

SHARD_ROOM = 0.8  # of the usable memory that a base may take whole, as `runs/sharding.py` has it
MAX_RANKS, LONGEST = 64, 2**20


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be trained: the longest ``document`` in tokens, a step of ``tokens_per_step``, of
    which the share ``supervised`` is scored, and ``tokens`` in all (None: not known).

    None in the others is `auto`, as in a run's config.
    """

    document: int = 512
    tokens_per_step: int = 4096
    tokens: int | None = None
    supervised: float = 0.5
    micro_batch: int | None = None
    recompute: Recompute | None = None
    dtype: str | None = None
    optimizer: OptimizerKind = "adamw"
    ranks: int = 1
    shard: bool | None = None
    retained: float = 0.0  # tokens of the base's texts in a step, by those of its rows
    averages: bool = False  # whether the moving average of what is trained is kept
    work: float = 1.0  # what a step computes, by what its rows alone do


class Fitting:
    """A base, a method and a device, and what of a wish is still to be chosen: as a run does."""

    def __init__(self, shape: ModelShape, settings: AnyMethod, device: Device, wish: Wish) -> None:
        self.shape, self.settings, self.device, self.wish = shape, settings, device, wish
        self.size: TrainedSize = trained_size(settings, shape)

    @property
    def four_bit(self) -> bool:
        """Whether the base's linear layers are 4-bit."""
        return needs_four_bit(getattr(self.settings, "kind", None)) or self.shape.four_bit

    def refusal(self) -> str:
        """Why the method does not run there, whatever the memory; empty where it does."""
        if self.four_bit and not self.device.has_four_bit:
            return f"4-bit weights do not work on {self.device.kind} (bitsandbytes)."
        limit = self.shape.context
        if limit and self.wish.document > limit:
            return (
                f"A document of {pluralize(self.wish.document, 'token')} is longer than the base's "
                f"context of {limit:,}."
            )
        return ""

    def setup(self, tokens: int, recompute: Recompute, **changes: object) -> Setup:
        """The wish with a micro-batch chosen."""
        wish = self.wish
        made = Setup(
            tokens=tokens,
            document=min(wish.document, tokens),
            supervised=wish.supervised,
            dtype=wish.dtype or self.device.dtype,
            four_bit=self.four_bit,
            optimizer=wish.optimizer,
            recompute=recompute,
            device=self.device.kind,
            ranks=wish.ranks,
            retained=wish.retained > 0,
            flash=self.device.has_flash(wish.dtype or self.device.dtype),
            averages=wish.averages,
        )
        made = replace(made, **changes)  # type: ignore[arg-type]
        return replace(made, shard=self._is_sharded(made))

    def _is_sharded(self, setup: Setup) -> bool:
        """Whether ranks hold the base in parts: where it does not fit on one, unless it is set."""
        if setup.ranks == 1 or self.wish.shard is False:
            return False
        whole = base_memory(self.shape, setup, trained=self.size.trains_base).whole
        return bool(self.wish.shard) or whole > SHARD_ROOM * self.device.usable

    def takes(self, setup: Setup) -> int:
        """Bytes on one device."""
        return memory_of(self.shape, self.size, setup).total

    def wanted(self) -> int:
        """Tokens of a micro-batch where memory sets no limit."""
        if self.wish.micro_batch is not None:
            return max(self.wish.micro_batch, self.wish.document)
        of_step = math.ceil(self.wish.tokens_per_step * (1 + self.wish.retained) / self.wish.ranks)
        frozen = not self.size.trains_base
        found = auto_tokens(of_step, device=self.device.kind, frozen_base=frozen)
        return max(found, self.wish.document)

    def choices(self) -> tuple[Recompute, ...]:
        """What may be recomputed, from what keeps most to what keeps least."""
        return RECOMPUTE if self.wish.recompute is None else (self.wish.recompute,)

    def fitting(self, **changes: object) -> Setup | None:
        """The setup that a run would take: as little recomputed as fits, then as many tokens."""
        least = self.wish.document if self.wish.micro_batch is None else self.wanted()
        smallest = self.setup(least, self.choices()[-1], **changes)
        if self.takes(smallest) > self.device.usable:
            return None
        for recompute in self.choices():
            tokens = self.wanted()
            while tokens >= least:
                setup = self.setup(tokens, recompute, **changes)
                if self.takes(setup) <= self.device.usable:
                    return setup
                tokens = max(least, tokens // 2) if tokens > least else 0
        return None

    def least(self) -> Setup:
        """The setup that takes least."""
        least = self.wish.document if self.wish.micro_batch is None else self.wanted()
        return self.setup(least, self.choices()[-1])

    def reason(self, setup: Setup, memory: Memory) -> str:
        """One line: how it fits, or by how much it does not."""
        free = bytes_text(self.device.usable)
        if memory.total <= self.device.usable:
            again = "" if setup.recompute == "none" else f", recompute {setup.recompute}"
            shared = f", sharded over {setup.ranks} ranks" if setup.shard else ""
            return f"micro-batches of {pluralize(setup.tokens, 'token')}{again}{shared}"
        part = max(("weights", "gradients", "optimizer", "activations"), key=memory.to_json().get)  # type: ignore[arg-type]
        return (
            f"takes {bytes_text(memory.total)} at the least, {free} are usable; "
            f"{_PARTS[part]} {bytes_text(memory.to_json()[part])}"
        )

    def changes(self) -> Iterator[str]:
        """What would make it fit, each alone."""
        wish = self.wish
        if wish.micro_batch is not None or wish.recompute is not None:
            open_wish = replace(wish, micro_batch=None, recompute=None)
            freed = Fitting(self.shape, self.settings, self.device, open_wish)
            if (found := freed.fitting()) is not None:
                yield (
                    f"train.tokens_per_micro_batch {found.tokens}, train.recompute "
                    f"{found.recompute}"
                )
        if wish.optimizer != "adamw8bit" and self.fitting(optimizer="adamw8bit"):
            yield "train.optimizer adamw8bit"
        if wish.averages and self.fitting(averages=False):
            yield "train.average_steps 0"
        can_be_four_bit = self.device.has_four_bit and not self.size.trains_base
        if not self.four_bit and can_be_four_bit and self.fitting(four_bit=True):
            yield "a 4-bit base (--method qlora)"
        if (rank := self._fitting_rank()) is not None:
            yield f"method.rank {rank}"
        if (longest := self.longest_context()) and longest < wish.document:
            yield f"documents of at most {pluralize(longest, 'token')} (data.max_tokens)"
        if (ranks := self._fitting_ranks()) is not None:
            yield f"{pluralize(ranks, 'device')}, the base sharded over them (--ranks {ranks})"

    def _fitting_rank(self) -> int | None:
        rank = getattr(self.settings, "rank", None)
        while rank is not None and rank > 1:
            rank //= 2
            smaller = self.settings.model_copy(update={"rank": rank})
            if Fitting(self.shape, smaller, self.device, self.wish).fitting() is not None:
                return int(rank)
        return None

    def _fitting_ranks(self) -> int | None:
        """The fewest ranks, each with such a device, over which it fits sharded."""
        if self.device.kind not in ("cpu", "cuda") or self.device.name == "here":
            return None
        ranks = max(2, 2 * self.wish.ranks)
        while ranks <= MAX_RANKS:
            shared = replace(self.wish, ranks=ranks, shard=True)
            case = Fitting(self.shape, self.settings, self.device, shared)
            if case.fitting() is not None:
                return ranks
            ranks *= 2
        return None

    def longest_context(self) -> int | None:
        """The longest document that fits by itself, within the base's context; None: none does."""
        limit = self.shape.context or LONGEST
        recompute = self.choices()[-1]

        def fits(tokens: int) -> bool:
            setup = replace(self.setup(tokens, recompute), document=tokens)
            return self.takes(setup) <= self.device.usable

        low, high = 1, limit
        if fits(high):
            return high
        if not fits(1):
            return None
        while high - low > max(16, low // 64):
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def largest(self, known: Mapping[str, ModelShape]) -> str | None:
        """The known base with the most parameters that this method fits on the device."""
        for name, shape in sorted(known.items(), key=lambda item: -item[1].parameters):
            try:
                case = Fitting(shape, self.settings, self.device, self.wish)
            except ConfigError:
                continue
            if not case.refusal() and case.takes(case.least()) <= self.device.usable:
                return name
        return None


_PARTS = {
    "weights": "its weights alone",
    "gradients": "gradients alone",
    "optimizer": "the optimizer's state alone",
    "activations": "activations alone",
}
