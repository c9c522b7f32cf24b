"""The parts of a step's memory are those of the code that takes it."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForCausalLM

from tests.engine.test_config_shape import saved
from tests.families import FAMILIES, SHAPE
from tunesmith.config import FullSettings, LoraSettings
from tunesmith.config.methods import default_methods
from tunesmith.engine import attention, head
from tunesmith.engine.config_shape import shape_of
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.estimate import memory
from tunesmith.estimate.devices import known_devices
from tunesmith.estimate.memory import Setup, kept_activations, key_value_bytes, layer_activations
from tunesmith.methods import table
from tunesmith.methods.sizes import layer_groups, trained_size
from tunesmith.models import four_bit
from tunesmith.training.optimizer import KINDS

WIDE = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8, "vocab_size": 997}
WIDE |= {"num_key_value_heads": 4, "max_position_embeddings": 512}
TOKENS, DOCUMENTS = 128, 3


def test_what_is_counted_by_is_what_the_code_has():
    assert (memory.BLOCK, memory.SCALE_BLOCK) == (four_bit.BLOCK, four_bit.SCALE_BLOCK)
    assert (memory.BLOCK_ROWS, memory.KEEP_KEYS) == (attention.BLOCK_ROWS, attention.KEEP_KEYS)
    theirs = (head.CHUNK_SCORES, head.MIN_ROWS, head.MAX_ROWS)
    assert theirs == (memory.CHUNK_SCORES, memory.MIN_ROWS, memory.MAX_ROWS)
    matrix = torch.empty(256, 256, device="meta")
    for kind, each in memory.STATE_BYTES.items():
        state = KINDS[kind].state_of(matrix)
        assert sum(t.nbytes for t in state.values()) / matrix.numel() == each


def test_a_moving_average_is_one_more_number_a_trained_weight():
    shape = shape_of(saved(base("llama").config))
    for settings in (LoraSettings(rank=2), FullSettings()):
        size = trained_size(settings, shape)
        setups = (Setup(averages=on) for on in (False, True))
        without, with_ = (memory.memory_of(shape, size, each).total for each in setups)
        assert with_ - without == 4 * size.trained


def base(family):
    settings = {**SHAPE, **FAMILIES[family], **WIDE}
    settings |= {"head_dim": 32} if "head_dim" in settings else {}
    settings |= {"sliding_window": 64} if "sliding_window" in settings else {}
    config = AutoConfig.for_model(family, **settings)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").bfloat16()


def kept_bytes(engine, batch, held, recompute):
    """Bytes of what a forward keeps for its backward, without parameters."""
    found = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = engine.hidden_states(batch, recompute=recompute)
    assert kept.requires_grad
    return sum(found.values())


@pytest.mark.parametrize("recompute", ["none", "activations"])
@pytest.mark.parametrize("method", ["lora", "full", "prompt"])
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "mixtral"])
def test_activations_are_what_a_forward_keeps(family, method, recompute):
    model = base(family)
    engine, shape = prepare_(model, torch.bfloat16), shape_of(saved(model.config))
    settings = default_methods()[method]
    adapter = table.attach(engine, settings, name="a")
    name = "a" if adapter.frozen_base else None
    ids = torch.randint(3, 900, (DOCUMENTS, TOKENS)).tolist()
    batch = pack(
        [Row(each, [1.0] * TOKENS, name, i) for i, each in enumerate(ids)],
        share=8,
        prefixes=engine.prefixes,
    )
    parameters = [*model.parameters(), *adapter.parameters.values()]
    held = {p.untyped_storage().data_ptr() for p in parameters}
    size = trained_size(settings, shape)
    setup = Setup(tokens=len(batch.ids), document=TOKENS, recompute=recompute)
    each = [
        (group.count, layer_activations(group, setup, shape.width, prefix=size.rows + size.prefix))
        for group in layer_groups(shape, size)
    ]
    expected = kept_activations(
        sum(count * found for count, found in each), max(found for _, found in each), shape, setup
    )
    # the first layer's inputs need no gradient, which is counted as if they did
    assert kept_bytes(engine, batch, held, recompute) == pytest.approx(expected, rel=0.11)


def test_a_window_bounds_the_keys_of_a_long_document():
    shape = shape_of(saved(base("gemma3_text").config))
    assert key_value_bytes(shape, 64) * 2 > key_value_bytes(shape, 128)


@pytest.mark.parametrize(
    ("name", "dtype", "flash"),
    [
        ("h100-80gb", "bfloat16", True),
        ("h100-80gb", "float32", False),
        ("t4-16gb", "float16", False),
        ("mi300x-192gb", "bfloat16", False),
        ("m3-max", "bfloat16", False),
    ],
)
def test_probabilities_are_kept_where_no_kernel_computes_them_again(name, dtype, flash):
    (device,) = [each for each in known_devices() if each.name == name]
    assert device.has_flash(dtype) is flash
