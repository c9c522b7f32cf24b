"""Log-likelihoods out of packed streams: those of each text alone, whoever scores beside it."""

import copy

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny_model, tiny_tokenizer
from tests.workflows.tiny import base_folder
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.errors import ModelError
from tunesmith.evaluate.forgetting.spans import Reader
from tunesmith.methods import table
from tunesmith.workflows import likelihoods
from tunesmith.workflows.likelihoods import log_likelihoods
from tunesmith.workflows.opening import open_base

PAIRS = [
    ("say hello and then", [" a", " all", " hello world", " a longer answer"]),
    ("x", [" y", " yy"]),
    ("say hello and thus", [" a", " b"]),
    ("", ["nothing in front"]),
]
TEXTS = ["a text that is longer than the window of the reader", "short"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
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


def trained(opened, name, settings):
    """An adapter whose weights are not those that it starts with."""
    adapter = table.attach(opened.engine, settings, name=name)
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
def test_the_base_finds_what_transformers_finds_of_each_text_alone(opened, monkeypatch, tokens):
    monkeypatch.setattr(likelihoods, "STREAM_TOKENS", tokens)
    all_spans = spans()
    (found,) = log_likelihoods(opened.engine, all_spans, [None])
    same(found, [reference(span) for span in all_spans])


@pytest.mark.parametrize(
    "settings",
    [LoraSettings(rank=2), PromptSettings(tokens=3), PTuningSettings(tokens=3)],
    ids=lambda settings: settings.kind,
)
def test_arms_in_one_stream_find_what_each_finds_alone(tmp_path, settings):
    opened = open_base(str(base_folder(tmp_path)), dtype="float32")
    trained(opened, "mine", settings)
    all_spans = spans()
    base, mine = log_likelihoods(opened.engine, all_spans, [None, "mine"])
    (alone,) = log_likelihoods(opened.engine, all_spans, ["mine"])
    same(mine, alone)
    same(base, [reference(span) for span in all_spans])
    assert max(np.abs(a - b).max() for a, b in zip(base, mine, strict=True)) > 0.01
    back = log_likelihoods(opened.engine, all_spans, ["mine", None])
    same(back[0], mine)
    same(back[1], base)


def test_a_group_computes_its_beginning_once(opened, monkeypatch):
    lengths = []
    hidden_states = type(opened.engine).hidden_states

    def counted(engine, batch, **options):
        lengths.append(len(batch.ids))
        return hidden_states(engine, batch, **options)

    monkeypatch.setattr(type(opened.engine), "hidden_states", counted)
    found = Reader(tiny_tokenizer(), 100).continuations(PAIRS[:1])
    log_likelihoods(opened.engine, found, [None])
    begin = found[0].scored
    assert len(lengths) == 1
    assert lengths[0] <= begin + sum(len(span.ids) - begin for span in found)
    assert sum(len(span.ids) for span in found) > 2 * lengths[0]


def test_it_is_told_how_far_it_is_and_may_be_stopped(opened, monkeypatch):
    monkeypatch.setattr(likelihoods, "STREAM_TOKENS", 40)
    all_spans, told = spans(), []
    log_likelihoods(opened.engine, all_spans, [None], go_on=lambda *at: told.append(at) or True)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (len(all_spans), len(all_spans))
    assert len(told) > 2
    assert log_likelihoods(opened.engine, all_spans, [None], go_on=lambda *_: False) is None
    # at the end there is nothing left to stop
    last = log_likelihoods(opened.engine, all_spans, [None], go_on=lambda d, t: d < t)
    assert last is not None


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    opened = open_base(str(base_folder(tmp_path)), dtype="float32")
    with torch.no_grad():
        opened.engine.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="no numbers"):
        log_likelihoods(copy.copy(opened.engine), spans(), [None])
