"""A tokenizer as a GGUF file holds it: pieces, merges or scores, special tokens, chat template."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gguf import GGUFWriter, TokenType
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_text import TEMPLATE_ERRORS, chat_text, given
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import begins_texts_with, encode
from tunesmith.models.gguf import WRITTEN, rule_of

SPACE = "▁"  # how a piece of a SentencePiece vocabulary writes a space
UNREACHED = -1e6  # score of a piece that no merge makes
OTHER_TOKENIZER = "Export it as a folder (merged or peft)."


def write_vocabulary(
    writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase, rows: int, stop_ids: frozenset[int]
) -> None:
    """Put pieces, special tokens and chat template into a file for an embedding of ``rows`` rows.

    A byte-level vocabulary has merges and a rule for words; a SentencePiece one has scores, and may
    put a space in front of a text. Raises ModelError where the tokenizer cannot be written.
    """
    model = _model(tokenizer, rows)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    pieces, kinds = _pieces(tokenizer, rows)
    if model.get("byte_fallback"):
        scores = _sentence_pieces_(pieces, kinds, merges, unknown=model.get("unk_token"))
        _write_pieces(writer, "llama", "default", pieces, kinds)
        writer.add_token_scores(scores)
        writer.add_add_space_prefix(_has_space_prefix(tokenizer))
    else:
        _write_pieces(writer, "gpt2", _rule(tokenizer), pieces, kinds)
        writer.add_token_merges(merges)
    for add, token in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if token is not None:
            add(token)
    _write_stops(writer, tokenizer.eos_token_id, stop_ids)
    writer.add_add_bos_token(adds_first(tokenizer))
    if templates := templates_of(tokenizer):
        named = [{"name": name, "template": text} for name, text in templates.items()]
        writer.add_chat_template(named)


def _write_pieces(
    writer: GGUFWriter, model: str, rule: str, pieces: Sequence[str], kinds: Sequence[int]
) -> None:
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)


def _model(tokenizer: PreTrainedTokenizerBase, rows: int) -> dict[str, Any]:
    """The model part of tokenizer.json; ModelError where it cannot be written."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"The tokenizer ({type(tokenizer).__name__}) has no tokenizer.json.",
            remedy="Save it with transformers' fast tokenizer of the same kind.",
        )
    model: dict[str, Any] = json.loads(backend.to_str())["model"]
    if (kind := model.get("type")) != "BPE":
        raise ModelError(
            f"A tokenizer of kind {kind} cannot be written as GGUF; BPE can.",
            remedy=OTHER_TOKENIZER,
        )
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise ModelError(
            f"The tokenizer has ids up to {highest}, the model only {pluralize(rows, 'row')}.",
            remedy="Use the tokenizer in the folder of the adapter or the merged model.",
        )
    return model


def _rule(tokenizer: PreTrainedTokenizerBase) -> str:
    rule = rule_of(tokenizer)
    if rule is None:
        raise ModelError(
            "The tokenizer splits text into words by a rule that is not known here "
            f"({', '.join(WRITTEN)} are).",
            remedy=OTHER_TOKENIZER,
        )
    return rule


def _pieces(tokenizer: PreTrainedTokenizerBase, rows: int) -> tuple[list[str], list[int]]:
    """The text and kind of every row; rows without a token are marked as unused."""
    pieces = [f"[PAD{row}]" for row in range(rows)]
    kinds = [int(TokenType.UNUSED)] * rows
    for piece, row in tokenizer.get_vocab().items():
        pieces[row], kinds[row] = piece, int(TokenType.NORMAL)
    for row, token in tokenizer.added_tokens_decoder.items():
        pieces[row] = token.content
        kinds[row] = int(TokenType.CONTROL if token.special else TokenType.USER_DEFINED)
    return pieces, kinds


def _sentence_pieces_(
    pieces: list[str], kinds: list[int], merges: Sequence[str], *, unknown: str | None
) -> list[float]:
    """The scores of a SentencePiece vocabulary; sets the kinds of its unknown and byte pieces.

    llama.cpp joins what makes the piece of the highest score. A piece's score is minus the place of
    the first merge that makes it, so that pieces are joined in the order of the merges.
    """
    places: dict[str, int] = {}
    for place, merge in enumerate(merges):
        places.setdefault(merge.replace(" ", ""), place)
    scores = [-float(places[p]) if p in places else UNREACHED for p in pieces]
    for row, (piece, kind) in enumerate(zip(pieces, kinds, strict=True)):
        if piece == unknown:
            kinds[row] = int(TokenType.UNKNOWN)
        elif kind == TokenType.NORMAL and re.fullmatch("<0x..>", piece):
            kinds[row] = int(TokenType.BYTE)
        elif kind == TokenType.USER_DEFINED:  # these are found in the text before spaces change
            pieces[row] = piece.replace(SPACE, " ")
    return scores


def _has_space_prefix(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether text after a special token gets a space in front: chats begin with such tokens."""
    first = tokenizer.bos_token or tokenizer.eos_token or ""
    (ids,) = encode(tokenizer, [f"{first}h"])
    after = tokenizer.convert_ids_to_tokens(ids)[1 if first else 0 :]
    return bool(after) and after[0].startswith(SPACE)


def _write_stops(writer: GGUFWriter, end: int | None, stop_ids: frozenset[int]) -> None:
    """The tokens that end an answer, in the three fields that a file has for them."""
    others = sorted(stop_ids - {end})
    ends = [*([] if end is None else [end]), *others]
    places = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    if len(ends) > len(places):
        raise ModelError(
            f"Answers of this base end with any of {ends}; GGUF names at most three tokens.",
            remedy="Keep the three that matter in eos_token_id of generation_config.json.",
        )
    for add, token in zip(places, ends, strict=False):
        add(token)


def templates_of(tokenizer: PreTrainedTokenizerBase) -> Mapping[str, str]:
    """Chat templates by name; the one that is used is `default`."""
    found = tokenizer.chat_template
    if found is None:
        return {}
    return found if isinstance(found, dict) else {"default": str(found)}


def adds_first(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether llama.cpp is to put the first token in front of a text.

    As the tokenizer does, but not where a working chat template begins without it: chats were
    trained as the template writes them, and servers add it to them as well.
    """
    if begins_texts_with(tokenizer) is None:
        return False
    if not templates_of(tokenizer):
        return True
    try:
        opening = chat_text(tokenizer, given([Message("user", "h")]), prompt=True)
    except TEMPLATE_ERRORS:
        return True
    return opening.startswith(tokenizer.bos_token or "")
