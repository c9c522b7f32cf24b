"""Does the base read and write the language of the rows, and which bases do?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.core.numbers import bytes_text
from tunesmith.data.faults import Note
from tunesmith.data.quality.language_fit import (
    CLEAR_LOSS_TIMES,
    MAX_LOSS_TIMES,
    MAX_TOKENS_TIMES,
    MAX_UNNAMED_TIMES,
    PartLanguage,
    TokenFit,
    language_name,
    languages_of,
    length_factor,
    passages,
    token_fit,
)
from tunesmith.data.rows import Conversation
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.engine import memory
from tunesmith.engine.families import SUPPORTED
from tunesmith.evaluation.likelihoods import Reader, log_likelihoods
from tunesmith.models.hub_bases import bases_for, is_published_for, published_languages
from tunesmith.models.precision import detect_device

LOSS_TEXTS = 2  # each with the content of a passage
MIN_PART = 0.4  # of that: the first words of a text, which nothing precedes, say little
PROPOSED = 3
CODE = "language_fit"


@dataclass(frozen=True, slots=True)
class LanguageFit:
    """How a base reads one part of the rows.

    ``published``: whether its publisher names the language; None: not known. ``loss_times`` is None
    where it was not measured.
    """

    found: PartLanguage
    tokens: TokenFit
    published: bool | None
    loss_times: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the base reads it; only its loss contradicts a publisher who names it."""
        limit = MAX_UNNAMED_TIMES if self.published is False else MAX_TOKENS_TIMES
        is_likely = self.published or self.tokens.times < limit
        if self.loss_times is None:
            return is_likely
        return self.loss_times < (MAX_LOSS_TIMES if is_likely else CLEAR_LOSS_TIMES)

    def __str__(self) -> str:
        what = (
            f"tokens a character: {self.tokens.tokens_per_character:.2f}; the same content takes "
            f"{self.tokens.times:.1f} times the tokens"
        )
        loss = "" if self.loss_times is None else f" and {self.loss_times:.1f} times the loss"
        return f"{what}{loss} of {language_name(self.tokens.own)}"


def language_notes(
    rows: Sequence[Conversation],
    model: str,
    tokenizer: Tokenizer,
    *,
    device: str = "auto",
    loaded: LoadedBase | None = None,
) -> tuple[Note, ...]:
    """A note where the base ``model`` hardly reads the language of ``rows``, with bases that do.

    Without the ``loaded`` base its tokens decide, or its publisher, who may name the language.
    """
    unread = [fit for fit in _fits(rows, model, tokenizer, loaded) if not fit.fits]
    if not unread:
        return ()
    fit, language = unread[0], unread[0].found.language
    parts = " and ".join(each.found.part for each in unread if each.found.language == language)
    what = f"the base hardly reads the rows' language, {language_name(language)} ({parts}): {fit}. "
    return (Note(CODE, what + proposal(language, device=device), len(rows)),)


def _fits(
    rows: Sequence[Conversation], model: str, tokenizer: Tokenizer, loaded: LoadedBase | None
) -> Iterator[LanguageFit]:
    for found in languages_of(rows):
        tokens = token_fit(found, tokenizer)
        if found.language != tokens.own:
            times = loss_times(loaded, found, own=tokens.own) if loaded else None
            yield LanguageFit(found, tokens, is_published_for(model, found.language), times)


def unpublished_language(rows: Sequence[Conversation], model: str) -> str:
    """What to say where ``model`` is published for other languages than that of ``rows``, or "".

    For a base whose tokenizer is not at hand.
    """
    for found in languages_of(rows):
        if is_published_for(model, found.language) is False:
            names = ", ".join(map(language_name, published_languages(model)))
            what = f"the rows' {found.part} are in {language_name(found.language)}"
            return f"{what}; {model} is published for {names}. {proposal(found.language)}"
    return ""


def proposal(language: str, *, device: str = "auto") -> str:
    """Bases that read the language, as a sentence: the first one fits this machine, if any does."""
    name, on = language_name(language), detect_device(device)
    available = memory.available_bytes(on)
    bases = bases_for(
        language, families=SUPPORTED, available=available, large_first=on.type != "cpu"
    )
    if not bases:
        return f"No base that is known here is published for {name} (`tunesmith model list`)."
    each = ", ".join(
        f"{base.name} ({bytes_text(base.weight_bytes)}, {base.licence})"
        for base in bases[:PROPOSED]
    )
    fit = "" if bases[0].fits(available) else ", none of which has room in this machine's memory"
    return (
        f"Published for {name}{fit}: {each}. Set `model:` to one; the hub has them (more in "
        "`tunesmith model list`)."
    )


def loss_times(loaded: LoadedBase, found: PartLanguage, *, own: str) -> float | None:
    """The base's loss on the texts: nats for the same content, as a multiple of those in ``own``.

    None where there is too little text, or no token that can precede one.
    """
    tokenizer = loaded.base.tokenizer
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        return None
    passage = passages()[own]
    same = length_factor(found.language) / length_factor(own)
    joined, length = "\n".join(found.texts), round(same * len(passage))
    texts = [joined[i : i + length] for i in range(0, len(joined), length)]
    texts = [text for text in texts if len(text) >= MIN_PART * length]
    texts = texts[:: max(1, len(texts) // LOSS_TEXTS)][:LOSS_TEXTS]
    if not texts:
        return None
    rate = _nats(loaded, texts) / sum(map(len, texts))
    own_rate = _nats(loaded, [passage]) / len(passage)
    return same * rate / own_rate


@torch.no_grad()
def _nats(loaded: LoadedBase, texts: list[str]) -> float:
    """The base's loss on whole texts, each by itself."""
    tokenizer = loaded.base.tokenizer
    spans = [span for each in Reader(tokenizer, loaded.base.context).texts(texts) for span in each]
    (logs,) = log_likelihoods(loaded.engine, spans, [None])
    return -sum(float(each.sum()) for each in logs)
