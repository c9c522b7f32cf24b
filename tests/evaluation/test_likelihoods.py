"""Texts are cut as lm-eval cuts them: its own rules, written down once more and compared."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from tests.counting import Counting
from tests.models.tiny import tiny_model, tiny_tokenizer
from tests.runs.tiny import base_folder
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.core.errors import ModelError
from tunesmith.core.progress import Cancelled
from tunesmith.evaluation import likelihoods
from tunesmith.evaluation.likelihoods import Reader, log_likelihoods
from tunesmith.methods import table

TOKENIZER = tiny_tokenizer()
BOS = TOKENIZER.bos_token_id


def ids(text):
    return TOKENIZER.encode(text, add_special_tokens=False)


def windows(tokens, size):
    """lm-eval's get_rolling_token_windows and make_disjoint_window with one token of context."""
    done = min(size, len(tokens))
    found = [([BOS, *tokens[: done - 1]], tokens[:done])] if tokens else []
    while done < len(tokens):
        count = min(len(tokens) - done, size)
        end = done + count
        found.append((tokens[end - size - 1 : end - 1], tokens[end - count : end]))
        done += count
    return [(a[: len(a) - (len(b) - 1)], b) for a, b in found]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12, 13, 40])
def test_windows_of_a_text_are_lm_evals(size):
    text = "hello world!"
    (spans,) = Reader(TOKENIZER, size).texts([text])
    found = [(list(s.ids[: s.scored]), list(s.ids[s.scored :])) for s in spans]
    assert found == windows(ids(text), size)
    assert [token for _, scored in found for token in scored] == ids(text)


def test_each_window_of_each_text_is_a_group_of_its_own():
    texts = ["hello", "a longer text", "x"]
    spans = [span for found in Reader(TOKENIZER, 3).texts(texts) for span in found]
    assert [span.group for span in spans] == list(range(len(spans)))
    assert Reader(TOKENIZER, 3).texts([""]) == [()]


def test_a_choice_is_what_the_whole_text_has_behind_the_context():
    spans = Reader(TOKENIZER, 100).continuations([("hello", [" he", " world"]), ("a", [" b"])])
    assert [span.group for span in spans] == [0, 0, 1]
    for span, context, choice in zip(
        spans, ("hello", "hello", "a"), (" he", " world", " b"), strict=True
    ):
        assert list(span.ids[: span.scored]) == ids(context)
        assert list(span.ids) == ids(context + choice)


def test_white_space_that_ends_a_context_goes_to_its_choices():
    (span,) = Reader(TOKENIZER, 100).continuations([("say \n", ["it"])])
    assert list(span.ids[: span.scored]) == ids("say")
    assert list(span.ids) == ids("say \nit")


def test_a_context_without_text_is_the_token_that_texts_begin_with():
    for context in ("", " \n"):
        (span,) = Reader(TOKENIZER, 100).continuations([(context, ["it"])])
        assert list(span.ids) == [BOS, *ids(context + "it")]
        assert span.scored == 1


def test_what_is_longer_than_the_window_loses_its_beginning():
    context, choice = "one two three", " four"
    whole, scored = ids(context + choice), len(ids(choice))
    for window in (len(whole) - 1, len(whole) - 2, scored + 1, scored, scored - 1):
        (span,) = Reader(TOKENIZER, window).continuations([(context, [choice])])
        assert list(span.ids) == whole[-(window + 1) :]  # as lm-eval's [-(max_length + 1):]
        assert len(span.ids) - span.scored == min(scored, window)
        assert span.cut == len(whole) - window - 1


def test_a_tokenizer_that_begins_every_text_does_so_here():
    class Beginning:
        bos_token_id = 7
        eos_token_id = 2

        def __call__(self, text, *, add_special_tokens, **_):
            begin = [7] if add_special_tokens else []
            return {"input_ids": [begin + [ord(c) for c in one] for one in text]}

    reader = Reader(Beginning(), 50)
    (span,) = reader.continuations([("ab", ["c"])])
    assert (list(span.ids), span.scored) == ([7, 97, 98, 99], 3)
    ((text,),) = reader.texts(["ab"])  # the token stands in front once
    assert list(text.ids) == [7, 97, 98]


def test_without_a_first_token_the_last_one_stands_in_and_without_both_it_is_told():
    other = dataclasses.make_dataclass("Other", ["bos_token_id", "eos_token_id"])
    other.__call__ = lambda self, text, **_: {"input_ids": [[5] for _ in text]}
    ((span,),) = Reader(other(None, 9), 10).texts(["x"])
    assert span.ids == (9, 5)
    with pytest.raises(ModelError, match="no token"):
        Reader(other(None, None), 10)


PAIRS = [
    ("say hello and then", [" a", " all", " hello world", " a longer answer"]),
    ("x", [" y", " yy"]),
    ("say hello and thus", [" a", " b"]),
    ("", ["nothing in front"]),
]
TEXTS = ["a text that is longer than the window of the reader", "short"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return open_base(str(base_folder(tmp_path_factory.mktemp("base"))), dtype="float32")


def spans():
    reader = Reader(tiny_tokenizer(), 40)
    found = reader.continuations(PAIRS)
    first = len(PAIRS)
    texts = [span for each in reader.texts(TEXTS) for span in each]
    return [*found, *(type(s)(s.ids, s.scored, s.group + first) for s in texts)]


def reference(span, model=None):
    """Transformers' own forward over one text."""
    model = model or tiny_model(max_position_embeddings=256)
    with torch.no_grad():
        logits = model(torch.tensor([span.ids])).logits[0].log_softmax(-1)
    return np.array([float(logits[i - 1, span.ids[i]]) for i in range(span.scored, len(span.ids))])


def trained(loaded, name, settings):
    """An adapter whose weights are not those that it starts with."""
    adapter = table.attach(loaded.engine, settings, name=name)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters.values():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    adapter.refresh()
    return adapter


def same(found, expected, tolerance=1e-4):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.parametrize("tokens", [30, 100, 2048])
def test_the_base_finds_what_transformers_finds_of_each_text_alone(loaded, monkeypatch, tokens):
    monkeypatch.setattr(likelihoods, "STREAM_TOKENS", tokens)
    all_spans = spans()
    (found,) = log_likelihoods(loaded.engine, all_spans, [None])
    same(found, [reference(span) for span in all_spans])


@pytest.mark.parametrize(
    "settings",
    [LoraSettings(rank=2), PromptSettings(tokens=3), PTuningSettings(tokens=3)],
    ids=lambda settings: settings.kind,
)
def test_arms_in_one_stream_find_what_each_finds_alone(tmp_path, settings):
    loaded = open_base(str(base_folder(tmp_path)), dtype="float32")
    trained(loaded, "mine", settings)
    all_spans = spans()
    base, mine = log_likelihoods(loaded.engine, all_spans, [None, "mine"])
    (alone,) = log_likelihoods(loaded.engine, all_spans, ["mine"])
    same(mine, alone)
    same(base, [reference(span) for span in all_spans])
    assert max(np.abs(a - b).max() for a, b in zip(base, mine, strict=True)) > 0.01
    back = log_likelihoods(loaded.engine, all_spans, ["mine", None])
    same(back[0], mine)
    same(back[1], base)


def test_a_group_computes_its_beginning_once(loaded, monkeypatch):
    lengths = []
    hidden_states = type(loaded.engine).hidden_states

    def counted(engine, batch, **options):
        lengths.append(len(batch.ids))
        return hidden_states(engine, batch, **options)

    monkeypatch.setattr(type(loaded.engine), "hidden_states", counted)
    found = Reader(tiny_tokenizer(), 100).continuations(PAIRS[:1])
    log_likelihoods(loaded.engine, found, [None])
    begin = found[0].scored
    assert len(lengths) == 1
    assert lengths[0] <= begin + sum(len(span.ids) - begin for span in found)
    assert sum(len(span.ids) for span in found) > 2 * lengths[0]


def test_it_counts_spans_and_is_cancelled_before_the_last(loaded, monkeypatch):
    monkeypatch.setattr(likelihoods, "STREAM_TOKENS", 40)
    all_spans, phase = spans(), Counting()
    log_likelihoods(loaded.engine, all_spans, [None], phase=phase)
    assert [done for done, _ in phase.told] == sorted({done for done, _ in phase.told})
    assert phase.told[-1] == (len(all_spans), len(all_spans))
    assert len(phase.told) > 2
    with pytest.raises(Cancelled):
        log_likelihoods(loaded.engine, all_spans, [None], phase=Counting(limit=1))
    whole = log_likelihoods(loaded.engine, all_spans, [None], phase=Counting(len(phase.told)))
    assert len(whole[0]) == len(all_spans)


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    loaded = open_base(str(base_folder(tmp_path)), dtype="float32")
    with torch.no_grad():
        loaded.engine.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="not numbers"):
        log_likelihoods(copy.copy(loaded.engine), spans(), [None])
