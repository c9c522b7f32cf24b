"""What this package asks of a tokenizer; every transformers tokenizer has it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

PLAIN: Mapping[str, bool] = {
    "add_special_tokens": False,
    "return_attention_mask": False,
    "return_token_type_ids": False,
    "verbose": False,
}


class AddedToken(Protocol):
    """A token that is found in a text before anything else is."""

    content: str
    special: bool


class Tokenizer(Protocol):
    """Text to ids and back, and the model's own chat template."""

    bos_token_id: int | None
    eos_token: str | None
    eos_token_id: int | None
    all_special_ids: Sequence[int]
    special_tokens_map: Mapping[str, str | Sequence[str]]
    added_tokens_decoder: Mapping[int, AddedToken]

    def __call__(self, text: Sequence[str], **options: bool) -> Mapping[str, list[list[int]]]: ...

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, object]], **options: object
    ) -> object: ...

    def get_chat_template(self, *, tools: object = None) -> str: ...

    def add_tokens(self, new_tokens: Sequence[object], /) -> int: ...

    def convert_tokens_to_ids(self, tokens: str, /) -> int: ...

    def decode(
        self, ids: Sequence[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str: ...


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text; nothing is added, since templates write their own special tokens."""
    if not texts:
        return []
    return tokenizer(texts, **PLAIN)["input_ids"]


def decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of ``ids``, special tokens and all white space kept."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def begins_texts_with(tokenizer: Tokenizer) -> int | None:
    """The token that this tokenizer puts in front of every plain text; None where it puts none."""
    ids = tokenizer(
        ["a"],
        add_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"][0]
    return ids[0] if ids and ids[0] == tokenizer.bos_token_id else None
