"""Rows in a language that a base does not read are noted, with bases that do."""

from types import SimpleNamespace

import pytest

from tests.data.quality.rows import asked
from tests.data.quality.test_language_fit import ENGLISH, KOREAN, Cutting
from tunesmith.data.quality.language_fit import PartLanguage, TokenFit
from tunesmith.engine import memory
from tunesmith.runs import language_fit
from tunesmith.runs.language_fit import (
    LanguageFit,
    language_notes,
    proposal,
    unpublished_language,
)

BYTES, FAIR = Cutting(ascii=4, other=1 / 2), Cutting(ascii=4, other=1.6)
ROWS = asked(*[KOREAN] * 20)
MODEL = "smollm2-135m-instruct"


def fit(*, times, loss=None, published=None):
    tokens = TokenFit("en", 1.0, 0.25, times)
    return LanguageFit(PartLanguage("answers", "ko", ()), tokens, published, loss).fits


@pytest.mark.parametrize(
    ("seen", "fits"),
    [
        ({"times": 1.2}, True),
        ({"times": 4.0}, False),
        ({"times": 1.6}, True),
        ({"times": 1.6, "published": False}, False),  # its publisher names others alone
        ({"times": 1.2, "published": False}, True),
        ({"times": 4.0, "published": True}, True),
        ({"times": 4.0, "loss": 1.2}, True),  # many tokens, but well predicted
        ({"times": 4.0, "loss": 1.7}, False),
        ({"times": 1.2, "loss": 1.7}, True),  # another kind of text
        ({"times": 1.2, "loss": 2.5}, False),
        ({"times": 4.0, "loss": 1.7, "published": True}, True),
        ({"times": 1.2, "loss": 2.5, "published": True}, False),
    ],
)
def test_loss_decides_where_it_is_known_and_else_tokens(seen, fits):
    assert fit(**seen) is fits


def test_rows_that_are_cut_into_bytes_are_noted_with_bases_that_read_them():
    (note,) = language_notes(ROWS, MODEL, BYTES)
    assert note.code == "language_fit"
    assert note.count == len(ROWS)
    assert "Korean (answers and questions)" in note.message
    assert "qwen3" in note.message
    assert "exaone" not in note.message


@pytest.mark.parametrize(
    ("rows", "model", "tokenizer"),
    [
        (ROWS, MODEL, FAIR),
        (ROWS, "qwen3-0.6b", BYTES),  # its publisher names the language
        (asked(*[ENGLISH] * 20), MODEL, BYTES),
        (asked(*[("play it", "PlayMusic")] * 20), MODEL, BYTES),
        ([], MODEL, BYTES),
    ],
)
def test_what_fits_is_not_noted(rows, model, tokenizer):
    assert language_notes(rows, model, tokenizer) == ()


def test_without_a_tokenizer_the_publisher_decides():
    assert "published for English" in unpublished_language(ROWS, MODEL)
    assert unpublished_language(ROWS, "qwen3-0.6b") == ""
    assert unpublished_language(ROWS, "some/folder") == ""
    assert unpublished_language(asked(*[ENGLISH] * 20), MODEL) == ""


def test_a_machine_without_room_is_told_so(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda _: 10**8)
    assert "none of which has room" in proposal("ko", device="cpu")
    monkeypatch.setattr(memory, "available_bytes", lambda _: 10**11)
    assert "none of which" not in proposal("ko", device="cpu")
    assert "No base" in proposal("xx", device="cpu")


def test_loss_is_that_of_the_same_content(monkeypatch):
    text = "말" * 1000
    ends = SimpleNamespace(bos_token_id=None, eos_token_id=2)
    loaded = SimpleNamespace(base=SimpleNamespace(tokenizer=ends))
    monkeypatch.setattr(language_fit, "_nats", lambda _, texts: 2.0 * sum(map(len, texts)))
    times = language_fit.loss_times(loaded, PartLanguage("answers", "ko", (text,)), own="en")
    assert times == pytest.approx(language_fit.length_factor("ko"))
    short = PartLanguage("answers", "ko", (text[:100],))
    assert language_fit.loss_times(loaded, short, own="en") is None
    ends.eos_token_id = None
    long = PartLanguage("answers", "ko", (text,))
    assert language_fit.loss_times(loaded, long, own="en") is None
