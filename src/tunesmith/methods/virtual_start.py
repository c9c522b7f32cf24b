"""Which token ids virtual tokens start from: a text's, or some that are drawn."""

import torch

from tunesmith.config.methods import DEFAULT_VIRTUAL_TOKENS, VirtualTokenSettings
from tunesmith.engine.forward import Engine
from tunesmith.errors import ConfigError
from tunesmith.methods.adapter import Words


def start_ids(
    engine: Engine, settings: VirtualTokenSettings, *, seed: int, words: Words
) -> list[int]:
    """P ids: the start text's, again and again until P; else drawn from the vocabulary.

    Raises ConfigError for a start text of more than P tokens.
    """
    if settings.start == "text":
        text = list(words.start_text)
        count = settings.tokens or len(text)
        if not text or len(text) > count:
            raise ConfigError(
                f"method.start_text has {len(text)} tokens, method.tokens is {count}.",
                remedy=f"Set method.tokens to {max(1, len(text))} or more, or leave it out.",
            )
        return (text * -(-count // len(text)))[:count]
    count = settings.tokens or DEFAULT_VIRTUAL_TOKENS
    generator = torch.Generator().manual_seed(seed)
    vocabulary = len(engine.embedding.weight)
    return torch.randint(0, vocabulary, (count,), generator=generator).tolist()
