"""Recurrent states: reset at every document, handed on by its prefix, and never a wrong one."""

import itertools

import pytest
import torch

from tests.engine.test_blocks import batch_of, tokens
from tests.engine.test_contract import TOLERANCE, assert_same_gradients, packed, reference, rows
from tests.families import STATES, make_exact, tiny_model
from tunesmith.config.run import RECOMPUTE
from tunesmith.engine import mixers, state_layout
from tunesmith.engine.batch import Document
from tunesmith.engine.blocks import Kept, Learned, Span
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack

pytestmark = pytest.mark.parametrize("family", STATES)


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    make_exact(monkeypatch)


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_documents_of_several_chunks_and_groups_equal_transformers(family, recompute, monkeypatch):
    monkeypatch.setattr(mixers, "CHUNK_ROWS", 4)
    made = rows(5, (9, 3, 14, 1, 13, 2), common=5)
    _, total, grads = reference(family, made)
    for filled in (0.1, 0.75, 1.0):
        monkeypatch.setattr(state_layout, "FILLED", filled)
        for share in (0, 3):
            _, _, ours, our_grads = packed(family, [pack(made, share=share)], recompute)
            torch.testing.assert_close(ours, total, **TOLERANCE)
            assert_same_gradients(our_grads, grads)


def test_spans_after_spans_hand_their_state_on_with_its_gradients(family):
    a, b, ends = tokens(5, 1), tokens(2, 2), [tokens(n, n) for n in (4, 1, 6)]
    texts = [a + ends[0], a + b + ends[1], a + b + ends[2], ends[0]]
    spans = Span(0, 5), Span(5, 7)
    starts = [(0, 5, ()), (5, 7, spans[:1]), (7, 11, spans[:1]), (11, 12, spans), (12, 18, spans)]
    documents = [*(Document(*cut, prefix=prefix) for *cut, prefix in starts), Document(18, 22)]
    engine = prepare_(tiny_model(family))
    weights = [p.requires_grad_() for p in engine.model.get_decoder().layers.parameters()]

    def gradients(hidden):
        return torch.autograd.grad(hidden.square().sum(), weights)

    apart = engine.hidden_states(pack([Row(t, [0] * len(t)) for t in texts])).split(
        [len(t) for t in texts]
    )
    expected = torch.cat([h[-len(end) :] for h, end in zip(apart, (*ends, ends[0]), strict=True)])
    ids = a + b + ends[0] + ends[1] + ends[2] + ends[0]
    shared = engine.hidden_states(batch_of(ids, documents))[7:]
    torch.testing.assert_close(shared, expected, **TOLERANCE)
    for mine, theirs in zip(gradients(shared), gradients(expected), strict=True):
        torch.testing.assert_close(mine, theirs, **TOLERANCE)


def test_kept_and_new_documents_of_several_caches_share_a_stream(family):
    engine = prepare_(tiny_model(family))
    openings, ends = [tokens(5, 1), tokens(3, 2)], [tokens(n, n) for n in (4, 1, 6, 2)]
    caches = [engine.cache(slots=2, capacity=16) for _ in openings]
    with torch.no_grad():
        for cache, opening in zip(caches, openings, strict=True):
            last = Document(0, len(opening), keep=(cache, 1))
            engine.hidden_states(batch_of(opening, [last]))
        whole = [openings[0] + ends[0], openings[1] + ends[1], openings[0] + ends[2], ends[3]]
        expected = engine.hidden_states(pack([Row(t, [0] * len(t)) for t in whole]))
        cuts = [0, *torch.tensor([len(end) for end in ends]).cumsum(0).tolist()]
        prefixes = [(Kept(caches[i], 1, len(openings[i])),) for i in (0, 1, 0)] + [()]
        documents = [
            Document(start, stop, prefix=prefix)
            for start, stop, prefix in zip(cuts, cuts[1:], prefixes, strict=False)
        ]
        got = engine.hidden_states(batch_of([*itertools.chain(*ends)], documents))
    parts = expected.split([len(t) for t in whole])
    own = [part[-len(end) :] for part, end in zip(parts, ends, strict=True)]
    torch.testing.assert_close(got, torch.cat(own), **TOLERANCE)


def test_a_state_after_another_length_is_an_error_and_not_an_answer(family):
    engine = prepare_(tiny_model(family))
    cache, ids = engine.cache(slots=2, capacity=16), tokens(6)
    with torch.no_grad():
        engine.hidden_states(batch_of(ids, [Document(0, 6, keep=(cache, 0))]))
        cache.copy_(0, 1, 5)
        for slot, length in ((0, 5), (1, 5), (1, 6)):
            late = Document(0, 2, prefix=(Kept(cache, slot, length),))
            with pytest.raises(RuntimeError, match="the state after"):
                engine.hidden_states(batch_of(ids[:2], [late]))
        cache.copy_(0, 1, 6)
        moved = Document(0, 2, prefix=(Kept(cache, 1, 6),))
        got = engine.hidden_states(batch_of(ids[:2], [moved]))
        whole = engine.hidden_states(pack([Row(ids + ids[:2], [0] * 8)]))
    torch.testing.assert_close(got, whole[6:], **TOLERANCE)


def test_a_prefix_whose_state_nobody_knows_is_an_error(family):
    engine = prepare_(tiny_model(family))
    cache, ids = engine.cache(slots=1, capacity=16), tokens(6)
    learned = Learned([torch.zeros(2, 1, 8)] * 3, [torch.zeros(2, 1, 8)] * 3)
    for prefix in (
        (Span(0, 2),),  # a part of a document
        (Span(3, 6),),  # itself
        (learned,),
        (Span(0, 3), Kept(cache, 0, 1)),
        (Kept(cache, 0, 1), Span(0, 3)),  # the span was computed without what is kept
    ):
        documents = [Document(0, 3), Document(3, 6, prefix=prefix)]
        with torch.no_grad(), pytest.raises(RuntimeError, match=r"cannot begin after this \w+:"):
            engine.hidden_states(batch_of(ids, documents))


def test_the_cache_holds_keys_of_attention_and_states_of_the_others(family):
    engine = prepare_(tiny_model(family))
    cache = engine.cache(slots=3, capacity=10)
    tensors = [*cache.keys, *cache.values]
    tensors += [tensor for states in cache.states.values() for tensor in states.tensors]
    assert sum(tensor.nbytes for tensor in tensors) == 3 * engine.cache_bytes(10)
    assert list(cache.states) == [0, 2]
    assert [key.shape[1] for key in cache.keys] == [0, 2, 0]
