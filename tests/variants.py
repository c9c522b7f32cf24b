"""Every method and variant that the contracts are shown for, and bases to attach them to."""

from pathlib import Path

import torch

from tests.families import four_bit_model, tiny_model
from tunesmith.config.methods import (
    FOUR_BIT_KINDS,
    FullSettings,
    LoraSettings,
    PromptSettings,
    PTuningSettings,
)
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter, Words
from tunesmith.models.weights import read_weight

SHAPES = ("llama", "qwen3", "gemma2", "gemma3_text")
VARIANTS = {
    "lora": LoraSettings(rank=3, alpha=5),
    "rslora": LoraSettings(rank=3, alpha=5, rslora=True),
    "dora": LoraSettings(rank=3, alpha=5, dora=True),
    "pissa": LoraSettings(rank=3, alpha=5, start="pissa"),
    "olora": LoraSettings(rank=3, alpha=5, start="olora"),
    "olora, dora": LoraSettings(rank=3, alpha=5, start="olora", dora=True),
    "lora-fa": LoraSettings(rank=3, alpha=5, freeze_a=True),
    "lora+": LoraSettings(rank=3, alpha=5, loraplus_lr_ratio=4),
    "qlora": LoraSettings(kind="qlora", rank=3, alpha=5),
    "loftq": LoraSettings(kind="qlora", rank=8, alpha=5, start="loftq"),
    "qlora, dora, pissa": LoraSettings(kind="qlora", rank=3, dora=True, start="pissa"),
    "full": FullSettings(),
    "prompt": PromptSettings(start_text="a text"),
    "p-tuning": PTuningSettings(start_text="a text"),
    "p-tuning, projection": PTuningSettings(start_text="a text", projection=9),
}
FOUR_BIT = [name for name, settings in VARIANTS.items() if settings.kind in FOUR_BIT_KINDS]
VIRTUAL = [name for name, settings in VARIANTS.items() if settings.kind in ("prompt", "p-tuning")]
TEXT = [17, 4, 60, 21, 8, 33]  # the tokens of "a text", longer than the tiny windows


def engine_for(family: str, variant: str, folder: Path) -> Engine:
    """An engine over a tiny base in float32, in 4 bit where the variant asks for that.

    The base lies in ``folder`` then, as it was before.
    """
    model = tiny_model(family, torch.float32)
    return prepare_(four_bit_model(model, folder) if variant in FOUR_BIT else model)


def attach(
    engine: Engine, variant: str, folder: Path, *, name: str = "a", seed: int = 0
) -> Adapter:
    """A new adapter; ``folder`` is that of ``engine_for``."""
    words = Words(
        start_text=TEXT if variant in VIRTUAL else (),
        original=lambda weight: read_weight(folder, weight),
    )
    return table.attach(engine, VARIANTS[variant], name=name, seed=seed, words=words)
