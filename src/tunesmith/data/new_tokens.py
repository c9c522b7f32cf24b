"""Tokens that a fine-tune adds to a tokenizer, and what each was before."""

from collections.abc import Sequence

from tokenizers import AddedToken

from tunesmith.data.tokenizer import Tokenizer, encode


def add_tokens_(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """Make each text one token; its id, with the ids that the text was before.

    A text that is one token already keeps its id. The tokens are no special ones: they are read
    and written as the text that they are.
    """
    pieces = [tuple(ids) for ids in encode(tokenizer, texts)]
    new = [text for text, ids in zip(texts, pieces, strict=True) if len(ids) != 1]
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in new])
    return {
        ids[0] if len(ids) == 1 else tokenizer.convert_tokens_to_ids(text): ids
        for text, ids in zip(texts, pieces, strict=True)
    }
