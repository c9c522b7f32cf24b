"""The classes that hold a language model beside what reads images or sound.

Loading this file imports no library of tensors; `models/text_part.py` opens them.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WholeClass:
    """A class that holds a language model beside what reads images or sound.

    ``caps_scores``: whether its head applies the text config's final_logit_softcapping.
    """

    models: str
    caps_scores: bool = True


# Contract 1 holds each to transformers' own forward of the whole class (tests/whole.py).
WHOLE_CLASSES: Mapping[str, WholeClass] = {
    "gemma3": WholeClass("Gemma 3 4B to 27B", caps_scores=False),
    "gemma4": WholeClass("Gemma 4"),
    "mistral3": WholeClass("Mistral Small 3.1 and 3.2, Ministral 3"),
    "smolvlm": WholeClass("SmolVLM, SmolVLM2"),
    "qwen3_5": WholeClass("Qwen3.5"),
}
"""By transformers' model_type of the whole; its text part is one of the engine's families."""
