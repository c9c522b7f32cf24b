"""What soft prompts and prefixes share: their initial state, PEFT's one tensor, windows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.config.methods import DEFAULT_VIRTUAL_TOKENS, VirtualTokenSettings
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.families import layer_windows
from tunesmith.engine.forward import Engine
from tunesmith.methods.adapter import Words
from tunesmith.methods.peft import CONFIG, Difference, number

KEY = "prompt_embeddings"  # PEFT's name of it, for both


def drawn(like: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers with the deviation of ``like``, in its shape."""
    return torch.randn(like.shape, generator=generator).to(like) * like.std()


def start_ids(
    engine: Engine, settings: VirtualTokenSettings, *, seed: int, words: Words
) -> list[int]:
    """P ids: the initial text's, repeated up to P; else drawn from the vocabulary.

    Raises ConfigError for an initial text of more than P tokens, or a P that fills the context.
    """
    if settings.init == "text":
        text = list(words.init_text)
        count = settings.tokens or len(text)
        if not text or len(text) > count:
            raise ConfigError(
                f"method.init_text has {pluralize(len(text), 'token')}, method.tokens is {count}.",
                remedy=f"Set method.tokens to {max(1, len(text))} or more, or omit it.",
            )
        _require_room(engine, count)
        return (text * -(-count // len(text)))[:count]
    count = settings.tokens or DEFAULT_VIRTUAL_TOKENS
    _require_room(engine, count)
    generator = torch.Generator().manual_seed(seed)
    vocabulary = len(engine.embedding.weight)
    return torch.randint(0, vocabulary, (count,), generator=generator).tolist()


def _require_room(engine: Engine, count: int) -> None:
    """Checked before anything is computed for them: one token is read, one predicted."""
    context = engine.config.max_position_embeddings
    if context - count < 2:
        raise ConfigError(
            f"There is no room after {pluralize(count, 'virtual token')} in the model's context of "
            f"{context:,}.",
            remedy="Use fewer of them: method.tokens.",
        )


def stored_count(
    config: Mapping[str, object], tensors: Mapping[str, Tensor], what: str, shape: str
) -> int:
    """P of an adapter's file; AdapterError where it holds anything but the one tensor [P, ..].

    Also where its config states another P, on which PEFT fails.
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
            f"Its `{KEY}` holds {pluralize(count, 'virtual token')}, {CONFIG} says "
            f"num_virtual_tokens = {config['num_virtual_tokens']}.",
            remedy=f"Copy the folder again; where only the config was changed, put {count} back.",
        )
    return count


def differences(
    _: Engine, asked: VirtualTokenSettings, found: VirtualTokenSettings
) -> list[Difference]:
    """Another P than an adapter's folder has; how they were initialized does not count."""
    if asked.tokens in (None, found.tokens):
        return []
    return [Difference("tokens", asked.tokens, found.tokens)]


def facts(settings: VirtualTokenSettings) -> dict[str, object]:
    """What a list of adapters shows."""
    return {"virtual_tokens": settings.tokens}


@dataclass(frozen=True, slots=True)
class Narrow:
    """``layers`` of the base's ``of`` layers see the last ``window`` positions only.

    A prefix takes positions 0..P-1 and follows the same rule as a text there.
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
        """The effect, for people."""
        length = pluralize(self.length, "token")
        longer = f"documents of more than {length}" if self.length else "any document"
        return (
            f"{self.layers} of {pluralize(self.of, 'layer')} see only the last "
            f"{pluralize(self.window, 'token')}: in {longer} they lose the "
            f"{pluralize(self.prefix, 'virtual token')} one by one, and from token {self.window:,} "
            "on they see none of them"
        )


def narrow_layers(engine: Engine, adapter: str) -> list[Narrow]:
    """The base's windows with their layers; none where the adapter has no prefix."""
    prefix = engine.prefix_length(adapter)
    if not prefix:
        return []
    windows = layer_windows(engine.config)
    counts = Counter(window for window in windows if window is not None)
    return [Narrow(count, len(windows), window, prefix) for window, count in counts.items()]
