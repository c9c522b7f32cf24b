"""Tokens of an adapter's own equal a base whose embedding and head have these rows."""

import pytest
import torch
from torch import nn

from tests.families import FAMILIES, make_exact, tiny_model
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum, losses_and_hits, row_losses
from tunesmith.engine.pack import Row, pack
from tunesmith.engine.vocabulary import TokenRows

TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
VOCABULARY = 97
IDS = (97, 99, 5)  # two new ones, with a gap between them, and one that the base knows
TEXT = [7, 97, 5, 44, 99, 3, 97, 12, 5, 99]


def rows(seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(len(IDS), 32, generator=g, dtype=torch.float64) * 0.4


def prepared(family):
    """An engine whose adapter `a` has tokens of its own."""
    engine = prepare_(tiny_model(family))
    inputs = nn.Parameter(rows(1))
    outputs = inputs if engine.tied else nn.Parameter(rows(2))
    engine.vocabularies["a"] = TokenRows(torch.tensor(IDS), inputs, outputs)
    return engine, inputs, outputs


def resized(family, inputs, outputs):
    """Transformers' own model with room for the tokens, and these rows in it."""
    model = tiny_model(family)
    model.resize_token_embeddings(max(IDS) + 1, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[list(IDS)] = inputs
        model.get_output_embeddings().weight[list(IDS)] = outputs
    return model.double()


def labelled(ids=TEXT, adapter="a"):
    return Row(ids, [1.0] * len(ids), adapter=adapter)


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return request.param


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    make_exact(monkeypatch)


def test_scores_loss_and_gradients_equal_a_resized_base(family):
    engine, inputs, outputs = prepared(family)
    model = resized(family, inputs, outputs)
    batch = pack([labelled()])
    hidden = engine.hidden_states(batch)
    loss_sum(hidden, batch, engine.head).backward()

    ids = torch.tensor([TEXT])
    logits = model(input_ids=ids).logits[0]
    logits[:, 98] = -torch.inf  # nobody's token
    expected = nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="sum")
    expected.backward()
    mine = engine.scores(hidden.detach(), ["a"] * len(TEXT))
    torch.testing.assert_close(mine, logits.detach(), **TOLERANCE)
    losses, hits = losses_and_hits(hidden, batch, engine.head)
    torch.testing.assert_close(losses.sum(), expected.float())
    assert torch.equal(losses, row_losses(hidden, batch, engine.head))
    assert torch.equal(hits, logits[:-1].argmax(-1) == ids[0, 1:])
    for parameter, module in (
        (inputs, model.get_input_embeddings()),
        (outputs, model.get_output_embeddings()),
    ):
        torch.testing.assert_close(parameter.grad, module.weight.grad[list(IDS)], **TOLERANCE)


def test_other_documents_of_the_stream_neither_read_nor_score_them(family):
    engine, *_ = prepared(family)
    plain = [7, 5, 44, 3, 12]

    def losses(*some):
        batch = pack(some)
        return row_losses(engine.hidden_states(batch), batch, engine.head)

    with torch.no_grad():
        together = losses(labelled(plain, None), labelled(), labelled(TEXT[2:]))
        alone = [losses(labelled(plain, None)), losses(labelled()), losses(labelled(TEXT[2:]))]
        engine.vocabularies.clear()
        untouched = losses(labelled(plain, None))
    torch.testing.assert_close(together, torch.cat(alone))
    assert torch.equal(alone[0], untouched)


def test_a_document_without_them_cannot_read_new_tokens():
    engine, *_ = prepared("llama")
    with pytest.raises(IndexError):
        engine.hidden_states(pack([labelled(), labelled(TEXT, None)]))
    engine.vocabularies.clear()
    with pytest.raises(IndexError):
        engine.hidden_states(pack([labelled()]))
