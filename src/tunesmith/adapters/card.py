"""The README of an adapter or a model: a head of metadata that model hubs read, then Markdown."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import yaml

from tunesmith.models.names import is_hub_id

Relation = Literal["adapter", "finetune", "merge"]


def card_text(
    text: str,
    *,
    base: str | None,
    library: Literal["peft", "transformers"] = "peft",
    relation: Relation = "adapter",
    more: Mapping[str, Sequence[str]] = MappingProxyType({}),
    results: Sequence[Mapping[str, object]] = (),
) -> str:
    """``text`` after a head in the model card format of the Hugging Face hub.

    ``base`` is in it where it is a hub id, as the format allows nothing else; ``relation`` is what
    this is to its base. ``more`` are further keys: `language` (ISO 639 codes), `datasets` (ids of
    the hub), `tags`; ``results`` its `model-index`, what it scored.
    """
    named = base if base and is_hub_id(base) else None
    head = {
        "base_model": named,
        "base_model_relation": relation if named else None,
        "library_name": library,
        "pipeline_tag": "text-generation",
        **{key: list(values) for key, values in more.items()},
        "tags": ["tunesmith", *more.get("tags", ())],
        "model-index": [dict(each) for each in results],
    }
    written = {key: value for key, value in head.items() if value}
    dumped = yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
    return f"---\n{dumped}---\n\n{text.strip()}\n"
