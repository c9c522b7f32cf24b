"""Tiny models of whole classes: a language model beside towers that read images or sound."""

import functools
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel

from tests.families import FAMILIES, SHAPE, TRAITS, _Float64Torch, make_exact
from tests.models.tiny import VOCAB, tiny_tokenizer
from tests.runs.tiny import TEMPLATE
from tunesmith.models.weights import weight_files
from tunesmith.models.whole_classes import WHOLE_CLASSES

_VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
# By model_type: the family of the text part, and the config's other keys.
CLASSES: dict[str, tuple[str, dict[str, object]]] = {
    "gemma3": ("gemma3_text", {"vision_config": _VISION, "mm_tokens_per_image": 4}),
    "gemma4": (
        "gemma4_text",
        {
            "vision_config": {
                **{k: v for k, v in _VISION.items() if k != "image_size"},
                "num_key_value_heads": 2,
                "head_dim": 8,
                "position_embedding_size": 8,
            },
            "audio_config": {
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "subsampling_conv_channels": [4, 4],
                "output_proj_dims": 12,
            },
        },
    ),
    "mistral3": ("ministral3", {"vision_config": {**_VISION, "head_dim": 8}}),
    "smolvlm": ("llama", {"vision_config": _VISION, "scale_factor": 1}),
    "qwen3_5": (
        "qwen3_5_text",
        {
            "vision_config": {
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_heads": 2,
                "out_hidden_size": SHAPE["hidden_size"],
                "patch_size": 14,
                "num_position_embeddings": 4,
            }
        },
    ),
}
KINDS = [kind for kind in WHOLE_CLASSES if CLASSES[kind][0] in FAMILIES]


def whole_config(kind: str, **text: object) -> PretrainedConfig:
    """The config of a class; ``text`` are keys of its text part in place of the family's.

    Its placeholders for images and sound are ids that no text of the tests has.
    """
    family, keys = CLASSES[kind]
    part = {**SHAPE, **FAMILIES[family], "model_type": family, **text}
    first = int(part["vocab_size"]) - 4
    names = ("image_token_id", "image_token_index", "video_token_id", "audio_token_id")
    places = dict(zip(names, (first, first, first + 1, first + 2), strict=True))
    tied = {"tie_word_embeddings": part["tie_word_embeddings"]}
    return AutoConfig.for_model(kind, **keys, **tied, **places, text_config=part)


def whole_model(
    kind: str, dtype: torch.dtype = torch.float64, seed: int = 0, **text: object
) -> PreTrainedModel:
    """A random model of the whole class, with weights that do not lose what they do."""
    torch.manual_seed(seed)
    config = whole_config(kind, **text)
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.to(dtype).eval()


@functools.cache
def _modeling_files() -> frozenset[str]:
    models = [whole_model(kind) for kind in KINDS]
    return frozenset(
        type(module).__module__
        for model in models
        for module in model.modules()
        if type(module).__module__.startswith("transformers.models")
    )


def make_whole_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers' modeling files of whole classes compute wholly in float64."""
    files = _modeling_files()
    make_exact(monkeypatch)
    for name in files:
        monkeypatch.setattr(sys.modules[name], "torch", _Float64Torch())


TEXT_KEYS = {"vocab_size": len(VOCAB) + 4, "max_position_embeddings": 256, "pad_token_id": 2}
PROCESSOR = "preprocessor_config.json"


def whole_folder(path: Path, kind: str) -> Path:
    """A folder as the hub has it: all weights, a tokenizer that talks, a processor's file."""
    family = CLASSES[kind][0]
    table = {"vocab_size_per_layer_input": TEXT_KEYS["vocab_size"]}
    more = table if "inputs by layer" in TRAITS[family] else {}
    model = whole_model(kind, torch.float32, **TEXT_KEYS, **more)
    model.save_pretrained(path)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    (path / PROCESSOR).write_text('{"image_mean": [0.5]}\n')
    return path


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a folder's files."""
    return {k: t for path in weight_files(folder) for k, t in load_file(path).items()}


def tower_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a whole class's files that are no part of its language model."""
    text = ("language_model.", "model.language_model.", "model.text_model.", "lm_head.")
    return {name: t for name, t in stored(folder).items() if not name.startswith(text)}
