"""Answers that are JSON of a schema: which tokens may come next, by llguidance's grammars.

Why llguidance and not another: docs/decisions/0016-serving.md.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.core.errors import DataError, ModelError
from tunesmith.core.extras import require
from tunesmith.data.call_format import ID_LENGTH, CallFormat
from tunesmith.data.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MAX_SCHEMA_CHARACTERS = 64 << 10
MAX_TOKENIZERS = 8  # that are kept, as adapters may bring their own
# Else a model that repeats itself writes blanks for ever, which no schema forbids.
WHITESPACE = {"whitespace_pattern": r"[ \n]{0,16}"}
# Of a schema that explodes: about a second to build, and 50 ms for a token.
MAX_CALLS = 16  # in one answer: a model that repeats itself would write them for ever
LIMITS = {"initial_lexer_fuel": 10_000_000, "step_lexer_fuel": 500_000, "max_grammar_size": 100_000}


class JsonConstraint:
    """What may follow in one answer. ``fault`` is set where its grammar became too large."""

    def __init__(self, matcher: "LLMatcher", tokens: int) -> None:
        self._matcher = matcher
        self._bits = np.zeros((1, -(-tokens // 32)), dtype=np.int32)
        self._tokens = tokens
        self.fault: str | None = None

    def allow(self, scores: Tensor) -> Tensor:
        """Scores [V] with -inf for each token that the schema does not let follow."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._note_fault()
        if self.fault:
            return scores
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._tokens]
        allowed = np.zeros(len(scores), dtype=bool)
        allowed[: len(bits)] = bits[: len(scores)]
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)

    def accept(self, token: int) -> None:
        """This token follows."""
        if not self.fault:
            self._matcher.consume_token(token)
            self._note_fault()

    def _note_fault(self) -> None:
        if self._matcher.is_error():
            self.fault = self._matcher.get_error().partition("\n")[0]

    def copy(self) -> "JsonConstraint":
        """Another one in the same state."""
        return JsonConstraint(self._matcher.deep_copy(), self._tokens)


class JsonGrammars:
    """Makes constraints for the tokenizers of one base, each of which is read once."""

    def __init__(self, stop_ids: Iterable[int]) -> None:
        self._stop_ids = sorted(stop_ids)
        self._known: dict[int, tuple[Tokenizer, LLTokenizer]] = {}  # by the tokenizer's id

    def constraint(self, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> JsonConstraint:
        """For an answer of a schema; DataError for one that is wrong, too large or not supported.

        Takes up to a second.
        """
        library = require("llguidance", "serve", ModelError, what="JSON of a schema")
        text = json.dumps(schema)
        _require_short(text)
        return self._make(
            tokenizer,
            lambda: library.LLMatcher.grammar_from_json_schema(text, overrides=WHITESPACE),
        )

    def calls(
        self,
        tokenizer: Tokenizer,
        form: CallFormat,
        tools: Mapping[str, Mapping[str, Any]],
        *,
        most: int = MAX_CALLS,
    ) -> JsonConstraint:
        """For an answer that is one call of these tools, or up to ``most``, in a template's form.

        ``tools`` are the schemas of their arguments, by name. Raises as ``constraint`` does.
        """
        written = _Grammar(tokenizer, self._stop_ids)
        calls = []
        for name, schema in tools.items():
            text = json.dumps({**schema, "type": "object", "x-guidance": WHITESPACE})
            calls.append(f"{json.dumps(name)} {written.parts(form.middle)} %json {text}")
        _require_short("".join(calls))
        more = ""
        if form.between is not None and most > 1:
            more = f"({written.parts(form.between)} call){{0,{most - 1}}}"
        rules = f"start: {written.parts(form.opening)} call {more} {written.end(form.closing)}"
        return self._make(tokenizer, lambda: f"{rules}\ncall: " + "\n  | ".join(calls))

    def _make(self, tokenizer: Tokenizer, grammar: Callable[[], str]) -> JsonConstraint:
        library = require("llguidance", "serve", ModelError, what="JSON of a schema")
        limits = library.LLParserLimits(**LIMITS, verbose_errors=False)
        read = self._read(tokenizer)
        try:
            matcher = library.LLMatcher(read, grammar(), log_level=0, limits=limits)
            error = matcher.get_error()
        except ValueError as failed:
            error = str(failed)
        if error:
            raise DataError(
                f"The schema cannot be followed: {error.partition(chr(10))[0][:300]}.",
                remedy="Change what it names.",
                code="schema",
            )
        return JsonConstraint(matcher, read.vocab_size)

    def _read(self, tokenizer: Tokenizer) -> "LLTokenizer":
        known = self._known.get(id(tokenizer))
        if known is None or known[0] is not tokenizer:
            from llguidance.hf import from_tokenizer

            try:
                read = from_tokenizer(tokenizer, eos_token=self._stop_ids)
            except ValueError as error:
                raise DataError(
                    f"The model's tokenizer cannot be held to a schema: {error}.",
                    remedy="Ask for JSON in the prompt.",
                    code="schema",
                ) from None
            if len(self._known) >= MAX_TOKENIZERS:
                self._known.clear()
            known = self._known[id(tokenizer)] = tokenizer, read
        return known[1]


def _require_short(schema: str) -> None:
    if len(schema) > MAX_SCHEMA_CHARACTERS:
        raise DataError(
            f"The schema has {len(schema):,} characters, and at most "
            f"{MAX_SCHEMA_CHARACTERS:,} are taken.",
            remedy="Give a smaller one.",
            code="schema",
        )


class _Grammar:
    """Writes texts of a chat template in llguidance's Lark, where a token of its own is no text."""

    def __init__(self, tokenizer: Tokenizer, stop_ids: Sequence[int]) -> None:
        self._ids = {token.content: i for i, token in tokenizer.added_tokens_decoder.items()}
        longest_first = sorted(map(re.escape, self._ids), key=len, reverse=True)
        self._tokens = re.compile(f"({'|'.join(longest_first) or '(?!)'})")
        self._stop_ids = stop_ids

    def parts(self, texts: Sequence[str]) -> str:
        """Texts, between two of which there is a call's id."""
        return f" /[a-zA-Z0-9]{{{ID_LENGTH}}}/ ".join(map(self._text, texts))

    def end(self, texts: Sequence[str]) -> str:
        """The same up to the token that ends an answer."""
        *before, last = texts
        pieces = self._tokens.split(last)
        end = next((i for i, p in enumerate(pieces) if self._ids.get(p) in self._stop_ids), None)
        return self.parts([*before, "".join(pieces[:end]) if end is not None else last.rstrip()])

    def _text(self, text: str) -> str:
        pieces = filter(None, self._tokens.split(text))
        return " ".join(
            f"<[{self._ids[p]}]>" if p in self._ids else json.dumps(p, ensure_ascii=False)
            for p in pieces
        )
