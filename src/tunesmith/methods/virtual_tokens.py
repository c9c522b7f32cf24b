"""What soft prompts and prefixes share: where P virtual tokens start, and PEFT's one tensor."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tunesmith.config.methods import DEFAULT_VIRTUAL_TOKENS, VirtualTokenSettings
from tunesmith.counts import many
from tunesmith.engine.forward import Engine
from tunesmith.errors import AdapterError, ConfigError
from tunesmith.methods.adapter import Adapter, Changes, Difference, Words
from tunesmith.methods.stated import CONFIG, number

KEY = "prompt_embeddings"  # PEFT's name of it, for both


def start_ids(
    engine: Engine, settings: VirtualTokenSettings, *, seed: int, words: Words
) -> list[int]:
    """P ids: the start text's, again and again until P; else drawn from the vocabulary.

    Raises ConfigError for a start text of more than P tokens, or a P that fills the context.
    """
    if settings.start == "text":
        text = list(words.start_text)
        count = settings.tokens or len(text)
        if not text or len(text) > count:
            raise ConfigError(
                f"method.start_text has {many(len(text), 'token')}, method.tokens is {count}.",
                remedy=f"Set method.tokens to {max(1, len(text))} or more, or leave it out.",
            )
        _require_room(engine, count)
        return (text * -(-count // len(text)))[:count]
    count = settings.tokens or DEFAULT_VIRTUAL_TOKENS
    _require_room(engine, count)
    generator = torch.Generator().manual_seed(seed)
    vocabulary = len(engine.embedding.weight)
    return torch.randint(0, vocabulary, (count,), generator=generator).tolist()


def _require_room(engine: Engine, count: int) -> None:
    """Asked before anything is computed for them: one token is read, one predicted."""
    context = engine.model.config.max_position_embeddings
    if context - count < 2:
        raise ConfigError(
            f"There is no room behind {many(count, 'virtual token')} in the model's context of "
            f"{context:,}.",
            remedy="Take fewer of them: method.tokens.",
        )


def stored_count(
    config: Mapping[str, object], tensors: Mapping[str, Tensor], what: str, shape: str
) -> int:
    """P of an adapter's file; AdapterError where it holds anything but the one tensor [P, ..].

    Also where its config states another P, over which PEFT fails.
    """
    if tensors.keys() != {KEY} or tensors[KEY].dim() != 2:
        found = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise AdapterError(
            f"A {what} is one tensor `{KEY}` {shape}; found: {found or 'none'}.",
            remedy="Copy the adapter again from where it was made.",
        )
    count = len(tensors[KEY])
    if number(config, "num_virtual_tokens", count) != count:
        raise AdapterError(
            f"Its `{KEY}` holds {many(count, 'virtual token')}, {CONFIG} says "
            f"num_virtual_tokens = {config['num_virtual_tokens']}.",
            remedy=f"Copy the folder again; where only the config was changed, put {count} back.",
        )
    return count


def differences(
    engine: Engine,  # noqa: ARG001
    asked: VirtualTokenSettings,
    found: VirtualTokenSettings,
) -> list[Difference]:
    """Another P than an adapter's folder has; how they once started does not count."""
    if asked.tokens in (None, found.tokens):
        return []
    return [Difference("tokens", asked.tokens, found.tokens)]


def refuse_merge(engine: Engine, adapter: Adapter) -> Changes:  # noqa: ARG001
    """Raise AdapterError: virtual tokens stand in front of a text and change no weight."""
    settings = adapter.settings
    assert isinstance(settings, VirtualTokenSettings)
    raise _nothing_to_merge(f"of method {settings.kind}")


def refuse_merge_of(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> Changes:  # noqa: ARG001
    """``refuse_merge`` of an adapter in its folder."""
    raise _nothing_to_merge(f"of kind {config.get('peft_type')}")


def _nothing_to_merge(which: str) -> AdapterError:
    return AdapterError(
        f"An adapter {which} has nothing to merge: its virtual tokens stand in front of the text, "
        "and no weight of the base changes.",
        remedy="Keep the adapter beside the base, or train with method lora, which can be merged.",
    )
