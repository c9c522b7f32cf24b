"""Attention of all documents in one call: what transformers and today's tiles give.

CUDA's kernel is played by `tests.kernels`, under its own name.
"""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.engine import test_autograd, test_blocks
from tests.engine.test_blocks import batch_of
from tests.engine.test_contract import (
    TOLERANCE,
    assert_same_gradients,
    packed,
    reference,
    rows,
)
from tests.families import FAMILIES, KEYED, STATES, make_exact, tiny_model
from tests.generation import test_accelerator as test_generation
from tests.kernels import stand_in
from tests.training.test_accelerator import assert_waits_once, engine_for, member
from tunesmith.config import LoraSettings
from tunesmith.config.methods import PromptSettings, PTuningSettings
from tunesmith.config.run import RECOMPUTE
from tunesmith.engine import varlen
from tunesmith.engine.attention import attend
from tunesmith.engine.batch import Document
from tunesmith.engine.blocks import Kept, KeyValueCache, Learned, Span
from tunesmith.engine.decode import Rule
from tunesmith.engine.device import set_up
from tunesmith.engine.families import LayerKeys, keyless_layers
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import generate
from tunesmith.generation.sampling import Sampling
from tunesmith.methods import table

CAPPED = ("gemma2",)
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture
def exact(monkeypatch):
    make_exact(monkeypatch)


@pytest.fixture
def calls(monkeypatch):
    return stand_in(monkeypatch)


def keyed_layers(engine):
    """How many layers the kernel computes."""
    if engine.config.model_type in CAPPED:
        return 0
    return engine.config.num_hidden_layers - len(keyless_layers(engine.config))


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("family", FAMILIES)
def test_shared_beginnings_equal_transformers_row_by_row(family, recompute, calls, exact):
    made = rows(2, common=7)
    _, total, grads = reference(family, made)
    engine, _, ours, our_grads = packed(family, [pack(made, share=4)], recompute)
    torch.testing.assert_close(ours, total, **TOLERANCE)
    assert_same_gradients(our_grads, grads)
    assert len(calls.backward) == keyed_layers(engine)
    assert {documents for documents, _ in calls.forward} <= {5}  # the beginning is one


@pytest.mark.parametrize("family", FAMILIES)
def test_micro_batches_without_prefixes_add_up_to_transformers(family, calls, exact):
    made = rows(1)
    _, total, grads = reference(family, made)
    _, _, ours, our_grads = packed(family, [pack([made[2], made[0]]), pack([made[3], made[1]])])
    torch.testing.assert_close(ours, total, **TOLERANCE)
    assert_same_gradients(our_grads, grads)
    assert all(keys in (23, 9) for _, keys in calls.forward)  # nothing is copied


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_blocks_and_decoding_equal_the_whole_text(family, calls, exact):
    test_blocks.test_decoding_token_by_token_equals_the_whole_text(family)
    test_blocks.test_a_chain_of_kept_and_computed_blocks_equals_the_whole_text(family)
    assert bool(calls.forward) == (family not in CAPPED)


@pytest.mark.parametrize("family", KEYED)
def test_learned_blocks_equal_that_text_in_front(family, calls, exact):
    test_blocks.test_learned_block_made_of_a_texts_own_keys_equals_that_text_in_front(family)
    assert bool(calls.backward) == (family not in CAPPED)


ADAPTERS = {
    "a": PTuningSettings(tokens=3),
    "b": PTuningSettings(tokens=2),
    "c": PromptSettings(tokens=4),
    "d": LoraSettings(rank=2),
}


def gradients_together(family):
    """Of adapters of all kinds in one stream, each with a beginning that its rows share."""
    engine = prepare_(tiny_model(family))
    names = [n for n, s in ADAPTERS.items() if s.kind != "p-tuning" or family not in STATES]
    adapters = [table.attach(engine, ADAPTERS[name], name=name, seed=1) for name in names]
    generator = torch.Generator().manual_seed(5)
    for adapter in adapters:
        for parameter in adapter.trained.values():
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        adapter.refresh()
    made = [replace(row, adapter=name) for name in (*names, None) for row in rows(3, common=6)]
    batch = pack(made, share=4, prefixes=engine.prefixes)
    hidden = engine.hidden_states(batch)
    loss_sum(hidden, batch, engine.head).backward()
    found = {f"{a.name}.{key}": p.grad for a in adapters for key, p in a.trained.items()}
    return engine, hidden.detach(), found


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_of_all_kinds_in_one_stream_are_as_before(family, exact, monkeypatch):
    _, hidden, expected = gradients_together(family)
    calls = stand_in(monkeypatch)
    engine, ours, found = gradients_together(family)
    assert len(calls.backward) == keyed_layers(engine)
    torch.testing.assert_close(ours, hidden, **TOLERANCE)
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        scale = grad.abs().max()  # masters are in 32 bits
        torch.testing.assert_close(found[name] / scale, grad / scale, rtol=1e-5, atol=1e-6)


HEADS, GROUPS, CAPACITY = 4, 2, 40
WIDE = torch.empty(0, 6, dtype=torch.float64)  # format, device and head width of most tests


def tensors(seed, *shape, like):
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.to(like)


def chained(cache, like):
    """A stream in which documents see every kind of block, and chains of them; some are kept."""
    one, two = (
        Learned(*([tensors(seed + i, GROUPS, n, like.shape[1], like=like)] for i in range(2)))
        for seed, n in ((3, 3), (5, 5))
    )
    opening, history = Kept(cache, 0, 7), Kept(cache, 1, 4)
    span, inner = Span(0, 6), Span(6, 9)
    documents = [
        Document(0, 6),
        Document(6, 9, prefix=(span,)),
        Document(9, 20, prefix=(span, inner)),
        Document(20, 21, prefix=(span, inner)),
        Document(21, 25, prefix=(one,)),
        Document(25, 30, prefix=(one, span)),
        Document(30, 31, prefix=(two, inner)),
        Document(31, 35, prefix=(opening,), keep=(cache, 2)),
        Document(35, 38, prefix=(Kept(cache, 0, 5), inner), keep=(cache, 3)),
        Document(38, 43, prefix=(history,), keep=(cache, 1)),
        Document(43, 50, keep=(cache, 4)),
    ]
    return batch_of([1] * 50, documents).to(like.device), (one, two)


def attended(window, sinks=False, like=WIDE, **changes):
    """Output, the cache and all gradients of one call over a stream with chains."""
    width = like.shape[1]
    cache = KeyValueCache([LayerKeys(0, GROUPS, width)], 5, CAPACITY, like=like)
    for seed, tensor in enumerate((cache.keys[0], cache.values[0])):
        tensor.copy_(tensors(seed, *tensor.shape, like=like))
    stream, blocks = chained(cache, like)
    leaves = [tensors(9 + n, 50, n, width, like=like) for n in (HEADS, GROUPS, GROUPS)]
    leaves += [t for block in blocks for t in (*block.keys, *block.values)]
    leaves += [tensors(11, HEADS, like=like)] if sinks else []
    for leaf in leaves:
        leaf.requires_grad_()
    rule = Rule(0, 0.4, window, None, leaves[-1] if sinks else None)
    out = attend(*(t.transpose(0, 1) for t in leaves[:3]), stream, replace(rule, **changes))
    loss = (out * tensors(13, *out.shape, like=like)).sum()
    return [out.detach(), cache.keys[0], cache.values[0], *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("window", [None, 1, 2, 5, 8, 100])
def test_chains_of_all_blocks_are_as_before(window, sinks, monkeypatch):
    expected = attended(window, sinks)
    calls = stand_in(monkeypatch)
    for ours, theirs in zip(attended(window, sinks), expected, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)
    assert len(calls.forward) == len(calls.backward) == 1


def test_a_window_copies_no_more_than_it_sees(monkeypatch):
    calls = stand_in(monkeypatch)
    for window in (None, 1, 3):
        attended(window)
    whole, own, narrow = (keys for _, keys in calls.forward)
    assert own == 50
    assert narrow == own + 2 * 9  # two rows before each of the nine documents with a prefix
    assert whole == own + sum((6, 9, 9, 3, 9, 8, 7, 8, 4))


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_SUMS", 1000), ("CHAIN_BYTES", 1000), ("WIDEST", 5)]
)
def test_what_is_too_large_is_computed_as_before(limit, value, monkeypatch):
    expected = attended(5)
    calls = stand_in(monkeypatch)
    monkeypatch.setattr(varlen, limit, value)
    assert all(map(torch.equal, attended(5), expected))
    assert not calls.forward


def test_soft_caps_are_computed_as_before(monkeypatch):
    expected = attended(5, softcap=0.8)
    calls = stand_in(monkeypatch)
    assert all(map(torch.equal, attended(5, softcap=0.8), expected))
    assert not calls.forward


def test_the_kernels_own_limits_hold(monkeypatch):
    monkeypatch.setattr(varlen, "obstacle", lambda device, dtype: None)
    stream = batch_of([1] * 10, [Document(0, 10)])

    def admitted(rows, width):
        q = torch.empty(32, rows, width, dtype=torch.bfloat16, device="meta")
        return varlen.admits(q, stream, Rule(0, 1.0, None, None))

    assert admitted(10, 128)
    assert admitted(10, 256)
    assert not admitted(10, 264)
    assert not admitted(10, 68)
    assert admitted(2**19 - 129, 128)
    assert not admitted(2**19 - 128, 128)


@pytest.mark.parametrize(
    ("capability", "dtype", "reason"),
    [
        ((8, 0), torch.bfloat16, None),
        ((12, 0), torch.float16, None),
        ((7, 5), torch.float16, "only from Ampere on"),
        ((9, 0), torch.float32, "only in bfloat16"),
    ],
)
def test_which_cards_have_the_kernel(capability, dtype, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    found = varlen.obstacle.__wrapped__(torch.device("cuda"), dtype)
    assert found == reason if reason is None else found.startswith(reason)
    assert varlen.obstacle(torch.device("cpu"), dtype) == "only on CUDA"


@pytest.mark.parametrize("mode", ["off", "warns", "raises"])
def test_backward_sums_in_one_order_where_that_is_asked_for(mode, calls):
    torch.use_deterministic_algorithms(mode != "off", warn_only=mode == "warns")
    try:
        attended(None)
        assert torch.are_deterministic_algorithms_enabled() == (mode != "off")
        assert torch.is_deterministic_algorithms_warn_only_enabled() == (mode == "warns")
    finally:
        torch.use_deterministic_algorithms(False)
    assert calls.backward == [mode != "off"]


class Operations(TorchDispatchMode):
    """Counts what is launched: operations that are no views."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view and func.overloadpacket is not torch.ops.aten.promote_types:
            self.counts[str(func.overloadpacket)] += 1
        return func(*args, **(kwargs or {}))


def operations(documents, *, tokens=128, **options):
    """Of one layer's forward and backward, with LoRA on all its linear layers."""
    found = []
    for layers in (1, 2):
        engine = prepare_(tiny_model("llama", torch.float32, num_hidden_layers=layers))
        table.attach(engine, LoraSettings(rank=2), name="a", seed=1)
        common = 4 if options.get("share") else 0
        own = tokens // documents
        made = [
            Row([7] * common + [i + 3] * own, [0.0] + [1.0] * (common + own - 1), "a")
            for i in range(documents)
        ]
        batch = pack(made, prefixes=engine.prefixes, **options)
        with Operations() as counted:
            loss_sum(engine.hidden_states(batch), batch, engine.head).backward()
        found.append(counted.counts)
    return (found[1] - found[0]).total()


@pytest.mark.parametrize("share", [0, 4])
def test_operations_of_a_layer_do_not_depend_on_the_number_of_documents(share, monkeypatch):
    before = [operations(n, share=share) for n in (2, 8, 32)]
    stand_in(monkeypatch)
    now = [operations(n, share=share) for n in (2, 8, 32)]
    assert len(set(now)) == 1
    assert now[0] < before[0] < before[1] < before[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_on_an_accelerator_waits_once(family, tmp_path, calls):
    learner = member(engine_for(family), LoraSettings(rank=2), tmp_path)
    assert_waits_once(learner, layouts=int(family not in CAPPED))


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("kind", ["p-tuning", "prompt"])
def test_a_step_with_prefixes_waits_once(kind, recompute, tmp_path, calls):
    settings = next(each for each in ADAPTERS.values() if each.kind == kind)
    learner = member(engine_for("qwen2"), settings, tmp_path, recompute=recompute)
    assert_waits_once(learner, layouts=2)  # with a window, and without


def test_adapters_that_train_together_wait_once(tmp_path, calls):
    engine = engine_for("gemma3_text")
    members = [member(engine, ADAPTERS[name], tmp_path / name, name=name) for name in "abc"]
    assert_waits_once(*members, layouts=2)


PROMPTS = [
    Prompt((*range(5, 45), *range(60, 60 + n)), adapter)
    for adapter in ("a", None, "c")
    for n in (3, 9, 4)
]


def answers(engine):
    sampling = Sampling(0.0, max_new_tokens=4)
    made = generate(engine, PROMPTS, stop_ids=frozenset(), sampling=sampling)
    return sorted((answer.row, answer.ids) for answer in made)


@pytest.mark.parametrize("family", KEYED)
def test_prompts_are_read_in_one_call_with_the_same_answers(family, monkeypatch):
    engine = prepare_(tiny_model(family))
    for name in ("a", "c"):
        table.attach(engine, ADAPTERS[name], name=name, seed=1)
    expected = answers(engine)
    calls = stand_in(monkeypatch)
    assert answers(engine) == expected
    if family not in CAPPED:
        assert max(documents for documents, _ in calls.forward) >= 9  # all prompts at once


def test_reading_prompts_on_an_accelerator_does_not_wait(calls):
    test_generation.test_a_step_waits_once_for_the_tokens_of_all_rows("qwen3", False, 0.0)


def distance(found, expected):
    """The largest difference, over the largest number where that is over 1."""
    return float((found.double().cpu() - expected).abs().max() / expected.abs().max().clamp(min=1))


@pytest.mark.cuda
@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("window", [None, 1, 5, 100])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_on_a_card_the_kernel_gives_what_tiles_give_on_a_processor(dtype, window, sinks):
    like = torch.empty(0, 64, dtype=dtype, device="cuda")
    if reason := varlen.obstacle(like.device, dtype):
        pytest.skip(reason)
    expected = attended(window, sinks, like=torch.empty(0, 64, dtype=torch.float64))
    for ours, theirs in zip(attended(window, sinks, like=like), expected, strict=True):
        assert distance(ours, theirs) < 2e-2


@pytest.mark.cuda
def test_on_a_card_the_same_call_twice_gives_the_same_bytes():
    set_up(torch.device("cuda"))
    like = torch.empty(0, 128, dtype=torch.bfloat16, device="cuda")
    first, *others = (attended(None, True, like=like) for _ in range(5))
    assert all(all(map(torch.equal, first, other)) for other in others)


@pytest.mark.parametrize(
    ("family", "method"), [("llama", "lora"), ("qwen2", "p-tuning"), ("gpt_oss", "prompt")]
)
def test_what_is_recomputed_has_the_same_gradients_to_the_last_bit(family, method, calls):
    test_autograd.test_gradients_are_the_same_to_the_last_bit_and_less_is_kept(family, method)
    assert calls.backward
