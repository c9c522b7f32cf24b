"""What others published of memory, by the plan's functions on paper."""

from statistics import median

import pytest
from benchmarks.plan_accuracy import compared

from tests import plan_page
from tests.published import GIB, PUBLISHED, WITHIN
from tunesmith.config.methods import FullSettings, LoraSettings
from tunesmith.engine.shape import DecoderShape, LinearShape, ModelShape
from tunesmith.estimate.memory import Setup, base_memory, memory_of
from tunesmith.methods.sizes import trained_size
from tunesmith.runs.plan import known_shapes


@pytest.mark.parametrize(
    "each",
    PUBLISHED,
    ids=lambda each: f"{each.source[:8]} {each.model} {each.method} {each.tokens}",
)
def test_a_published_figure_is_met_or_the_reason_is_given(each):
    is_near = abs(each.ratio - 1) <= WITHIN
    assert is_near != bool(each.reason), f"{each.ours:.1f} GB, {each.gigabytes} published"


def test_65b_by_qlora_fits_48_gb():
    """QLoRA paper, abstract: 65B on one 48 GB GPU; section 4: R = 64, 512 tokens of a batch."""
    shape = known_shapes()["llama-65b"]
    size = trained_size(LoraSettings(kind="qlora", rank=64), shape)
    setup = Setup(
        tokens=512, document=512, four_bit=True, recompute="layers", device="cuda", flash=True
    )
    assert memory_of(shape, size, setup).total < 48 * GIB


def test_four_bit_weights_take_half_a_byte_and_the_scales():
    """QLoRA paper, section 3: double quantization takes 0.127 bits a weight for its scales."""
    shape = known_shapes()["llama-2-7b"]
    quantized = base_memory(shape, Setup(four_bit=True), trained=False).whole
    weights = sum(count * layer.matrix_weights for count, layer in shape.kinds)
    others = 2 * (shape.parameters - weights)
    assert (quantized - others) * 8 / weights == pytest.approx(4 + 0.127, abs=0.001)


def gpt3():
    """GPT-3 (arXiv 2005.14165, table 2.1): 96 layers of width 12,288, 96 heads."""
    width, inner = 12_288, 4 * 12_288
    attention = tuple(LinearShape(f"attn.{name}", width, width) for name in ("q", "k", "v", "o"))
    layer = DecoderShape(
        linears=(
            *attention,
            LinearShape("mlp.up", width, inner),
            LinearShape("mlp.down", inner, width),
        ),
        experts=(),
        others=4 * width,
        heads=96,
        key_heads=96,
        head_width=128,
        window=None,
        inner=inner,
        gates=1,
        norms=2,
        normed_heads=False,
    )
    return ModelShape("gpt3", width, 50_257, True, 2048, (layer,) * 96)


def test_lora_on_gpt_3_trains_what_its_paper_says():
    """arXiv 2106.09685: R = 4 on query and value; section 4.2: 350 GB of checkpoint become 35 MB;
    table 4: 4.7 M parameters for R = 1.
    """
    shape = gpt3()
    assert shape.parameters == pytest.approx(175e9, rel=0.01)
    size = trained_size(LoraSettings(rank=4, targets=("q", "v"), dtype="bfloat16"), shape)
    assert size.trained == 2 * 96 * 4 * (12_288 + 12_288) == 18_874_368
    assert size.stored * size.stored_bytes == pytest.approx(35e6, rel=0.08)
    one = trained_size(LoraSettings(rank=1, targets=("q", "v")), shape)
    assert one.trained == pytest.approx(4.7e6, rel=0.01)


def test_full_fine_tuning_takes_16_bytes_a_parameter():
    """ZeRO (arXiv 1910.02054, section 3.1): 16 bytes with Adam in mixed precision."""
    for name in ("smollm2-135m-instruct", "llama-2-7b", "qwen3-30b-a3b"):
        shape = known_shapes()[name]
        found = base_memory(shape, Setup(), trained=True).whole
        assert found == pytest.approx(16 * shape.parameters, rel=1e-6)
        assert trained_size(FullSettings(), shape).trained == shape.parameters


def test_lora_needs_a_third_of_the_memory_of_gpt_3():
    """arXiv 2106.09685, section 4.2: from 1.2 TB to 350 GB, where Adam's state of every weight is
    not kept (weights in 16 bit; training state beside them).
    """
    shape = gpt3()
    size = trained_size(LoraSettings(rank=4, targets=("q", "v")), shape)
    setup = Setup(tokens=2048, document=2048, recompute="layers", device="cuda", flash=True)
    found = memory_of(shape, size, setup)
    assert found.total == pytest.approx(350e9, rel=0.15)


def test_the_page_says_what_the_functions_say():
    assert plan_page.PAGE.read_text(encoding="utf-8") == plan_page.page(), "`make docs` writes it"


def test_predictions_are_near_what_was_measured():
    """Of the combinations in benchmarks/plan_accuracy.jsonl; docs/plan.md has each."""
    errors = [abs(predicted / row["peak_bytes"] - 1) for row, predicted, _ in compared()]
    assert median(errors) <= 0.08
    assert max(errors) <= 0.20
