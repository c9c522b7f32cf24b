"""Prefix blocks: learned, kept from an earlier call, and chains of them, on one attention path."""

from dataclasses import replace

import pytest
import torch

from tests.families import FAMILIES, KEYED, make_exact, tiny_model
from tunesmith.engine.batch import Document, PackedBatch
from tunesmith.engine.blocks import Kept, Learned, Span
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    make_exact(monkeypatch)


def batch_of(ids, documents):
    positions = torch.cat([d.offset + torch.arange(len(d)) for d in documents])
    none = torch.zeros(0, dtype=torch.int64)
    return PackedBatch(
        torch.tensor(ids), positions, tuple(documents), none, none, none.to(torch.float32)
    )


def tokens(n, seed=0):
    return torch.randint(3, 97, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_token_by_token_equals_the_whole_text(family):
    engine = prepare_(tiny_model(family))
    texts = [tokens(11, 1), tokens(7, 2)]
    whole = engine.hidden_states(pack([Row(t, [0] * len(t)) for t in texts]))
    cache = engine.cache(slots=2, capacity=12)
    cut = (6, 3)
    starts = (0, cut[0])
    first = batch_of(
        texts[0][: cut[0]] + texts[1][: cut[1]],
        [Document(starts[i], starts[i] + cut[i], keep=(cache, i)) for i in range(2)],
    )
    with torch.no_grad():
        got = [list(engine.hidden_states(first).split(cut))]
        for step in range(4):
            at = [c + step for c in cut]
            documents = [
                Document(i, i + 1, prefix=(Kept(cache, i, at[i]),), keep=(cache, i))
                for i in range(2)
            ]
            got.append(
                list(
                    engine.hidden_states(
                        batch_of([texts[i][at[i]] for i in range(2)], documents)
                    ).split(1)
                )
            )
    for i, offset in ((0, 0), (1, len(texts[0]))):
        mine = torch.cat([step[i] for step in got])
        torch.testing.assert_close(mine, whole[offset : offset + len(mine)], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_chain_of_kept_and_computed_blocks_equals_the_whole_text(family):
    engine = prepare_(tiny_model(family))
    a, b, c = tokens(5, 3), tokens(4, 4), tokens(6, 5)
    whole = engine.hidden_states(pack([Row(a + b + c, [0] * 15)]))
    cache = engine.cache(slots=1, capacity=16)
    with torch.no_grad():
        engine.hidden_states(batch_of(a, [Document(0, 5, keep=(cache, 0))]))
        kept = Kept(cache, 0, 5)
        middle = Document(0, 4, prefix=(kept,))
        last = Document(4, 10, prefix=(kept, Span(0, 4)))
        got = engine.hidden_states(batch_of(b + c, [middle, last]))
    torch.testing.assert_close(got, whole[5:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", KEYED)
def test_learned_block_made_of_a_texts_own_keys_equals_that_text_in_front(family):
    engine = prepare_(tiny_model(family))
    front, back = tokens(4, 6), tokens(9, 7)
    whole = engine.hidden_states(pack([Row(front + back, [0] * 13)]))
    cache = engine.cache(slots=1, capacity=4)
    with torch.no_grad():
        engine.hidden_states(batch_of(front, [Document(0, 4, keep=(cache, 0))]))
    keys = [k[0].clone().requires_grad_() for k in cache.keys]
    values = [v[0].clone().requires_grad_() for v in cache.values]
    document = Document(0, 9, prefix=(Learned(keys, values),))
    batch = batch_of(back, [document])
    got = engine.hidden_states(batch)
    torch.testing.assert_close(got, whole[4:], rtol=1e-6, atol=1e-6)
    recomputed = torch.autograd.grad(
        engine.hidden_states(replace(batch), recompute="layers").square().sum(), values
    )
    plain = torch.autograd.grad(got.square().sum(), values)
    torch.testing.assert_close(recomputed, plain)
    _same_as_finite_differences(engine, batch, keys[1])


def _same_as_finite_differences(engine, batch, tensor):
    (grad,) = torch.autograd.grad(engine.hidden_states(batch).square().sum(), [tensor])
    index = (1, 2, 3)
    with torch.no_grad():
        sides = []
        for step in (1e-5, -2e-5):
            tensor[index] += step
            sides.append(engine.hidden_states(batch).square().sum())
        tensor[index] += 1e-5
    torch.testing.assert_close((sides[0] - sides[1]) / 2e-5, grad[index], rtol=1e-4, atol=1e-5)


def test_decode_rows_do_not_mix_with_longer_documents():
    engine = prepare_(tiny_model("llama"))
    cache = engine.cache(slots=2, capacity=8)
    with torch.no_grad():
        engine.hidden_states(batch_of(tokens(3), [Document(0, 3, keep=(cache, 0))]))
        row = Document(0, 1, prefix=(Kept(cache, 0, 3),), keep=(cache, 0))
        with pytest.raises(RuntimeError, match="Decode rows"):
            engine.hidden_states(batch_of(tokens(3), [row, Document(1, 3)]))
