"""Every method and variant that the contracts are shown for, and bases to attach them to."""

from importlib import import_module
from pathlib import Path

import torch

from tests import families
from tests.families import four_bit_model, tiny_model
from tunesmith.config.methods import AnyMethod, FullSettings, needs_four_bit
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter, Words
from tunesmith.models.weights import read_weight

SHAPES = ("llama", "qwen3", "gemma2", "gemma3_text", "gpt_oss")
EXPERTS = "gpt_oss"  # the family of variants that others do not have


def _collected() -> dict[str, AnyMethod]:
    """``VARIANTS`` of each test file of a method, which does not import this one."""
    found: dict[str, AnyMethod] = {"full": FullSettings()}
    for path in sorted(Path(__file__).parent.glob("methods/test_*.py")):
        if "\nVARIANTS = {" in path.read_text(encoding="utf-8"):
            found |= import_module(f"tests.methods.{path.stem}").VARIANTS
    return found


VARIANTS = _collected()
FOUR_BIT = [name for name, settings in VARIANTS.items() if needs_four_bit(settings.kind)]
VIRTUAL = [name for name, settings in VARIANTS.items() if table.of(settings).init_text]
TEXT = [17, 4, 60, 21, 8, 33]  # the tokens of "a text", longer than the tiny windows


def fits(family: str, variant: str) -> bool:
    """Whether a base of the family has what the variant trains."""
    return families.fits(family, VARIANTS[variant])


def engine_for(family: str, variant: str, folder: Path) -> Engine:
    """An engine over a tiny base in float32, in 4 bit where the variant asks for that.

    The base lies in ``folder`` then, as it was before. A variant of experts gets a base with some.
    """
    family = family if fits(family, variant) else EXPERTS
    model = tiny_model(family, torch.float32)
    return prepare_(four_bit_model(model, folder) if variant in FOUR_BIT else model)


def attach(
    engine: Engine, variant: str, folder: Path, *, name: str = "a", seed: int = 0
) -> Adapter:
    """A new adapter; ``folder`` is that of ``engine_for``."""
    words = Words(
        init_text=TEXT if variant in VIRTUAL else (),
        original=lambda weight: read_weight(folder, weight),
    )
    return table.attach(engine, VARIANTS[variant], name=name, seed=seed, words=words)
