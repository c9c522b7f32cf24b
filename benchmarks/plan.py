"""What is compared: the workloads, the sides of each, and the ratios that are asked for."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.flops import Method

OURS = "Tunesmith"
SMOLLM2_PARAMETERS = 134_515_008
# Peers hold full logits [8 x 512, 262,144] in bf16 and three times in fp32.
LONG_LOGITS_BYTES = 8 * 512 * 262_144 * (2 + 3 * 4)


@dataclass(frozen=True, slots=True)
class Side:
    """One library with its settings; it is left out where less than ``needs_bytes`` are free."""

    name: str
    script: str
    options: tuple[str, ...] = ()
    needs_bytes: int = 0
    own_rows: bool = False  # packs by itself, so that its steps hold other rows than the others'


@dataclass(frozen=True, slots=True)
class Goal:
    """Ours against another side, or against a number of bytes where ``against`` is None."""

    quantity: Literal["tokens_per_second", "peak_bytes"]
    bound: float
    against: str | None = None

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.quantity == "tokens_per_second"


@dataclass(frozen=True, slots=True)
class Work:
    """Documents, base and method that all sides share; ``steps`` and ``repeats`` overrule."""

    key: str
    title: str
    model: Literal["smollm2", "gemma shape"]
    method: Method
    sides: tuple[Side, ...]
    goals: tuple[Goal, ...]
    documents: Literal["rows", "long"] = "rows"
    steps: int | None = None
    repeats: int | None = None


H = Side("H: PEFT + Trainer", "hf_trainer")
T0 = Side("T0: TRL, its defaults", "trl_default")
T1 = (
    Side("T1: TRL tuned", "trl_tuned"),
    Side("T1: TRL tuned, packed", "trl_tuned", ("--packing",), own_rows=True),
)
FULL = ("--full", "--lr", "2e-5")
H_FULL = Side("H: Trainer, fp32 masters", "hf_trainer", (*FULL, "--precision", "mixed"))
H_FULL_BF16 = Side("H: Trainer, bf16 only", "hf_trainer", FULL)
H_LONG = Side(H.name, H.script, needs_bytes=LONG_LOGITS_BYTES + 2_000_000_000)

WORKS = (
    Work(
        key="w1",
        title="W1: LoRA on SmolLM2-135M, 8 chats a step",
        model="smollm2",
        method="lora",
        sides=(H, T0, Side(OURS, "tunesmith_side")),
        goals=(
            Goal("tokens_per_second", 2.2, H.name),
            Goal("tokens_per_second", 3.6, T0.name),
            Goal("peak_bytes", 0.5, H.name),
        ),
    ),
    Work(
        key="g",
        title="G: LoRA on the shape of Gemma-3-270M, 8 chats a step",
        model="gemma shape",
        method="lora",
        sides=(H, Side(OURS, "tunesmith_side")),
        goals=(Goal("tokens_per_second", 2.2, H.name),),
    ),
    Work(
        key="memory",
        title="Memory: the same shape, 8 documents of 512 tokens in one step",
        model="gemma shape",
        method="lora",
        sides=(H_LONG, Side(OURS, "tunesmith_side")),
        goals=(Goal("peak_bytes", 2_400_000_000),),
        documents="long",
        steps=3,
        repeats=1,
    ),
    Work(
        key="full",
        title="Full fine-tuning of SmolLM2-135M, 8 chats a step",
        model="smollm2",
        method="full",
        sides=(H_FULL, H_FULL_BF16, Side(OURS, "tunesmith_side", FULL)),
        goals=(
            Goal("tokens_per_second", 1.5, H_FULL.name),
            Goal("tokens_per_second", 1.5, H_FULL_BF16.name),
            Goal("peak_bytes", 16 * SMOLLM2_PARAMETERS + 1_000_000_000),
        ),
    ),
)
