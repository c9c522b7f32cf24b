"""A GGUF adapter holds PEFT's term as llama.cpp computes it: alpha / rank B A, in its row order."""

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize

from tests.adapters.test_store import VARIANTS, randomise
from tests.covering import covering, traits
from tests.exports.bases import FAMILIES, WITHOUT_READER, base, kind_of, plain
from tests.families import TRAITS
from tests.models.tiny import interleave
from tunesmith.adapters import store
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.core.errors import AdapterError, ModelError
from tunesmith.engine.forward import prepare_
from tunesmith.exports import gguf_families
from tunesmith.exports.gguf_model import write_adapter
from tunesmith.methods import table
from tunesmith.methods.adapter import Words

pytestmark = pytest.mark.usefixtures("home")
PLAIN = [n for n, each in VARIANTS.items() if not (each.dora or each.target_parameters)]
PAIRS = covering(
    {name: TRAITS[kind_of(name)] for name in FAMILIES | WITHOUT_READER},
    {name: traits(VARIANTS[name]) for name in PLAIN},
)
PIECES = {
    **{"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"},
    **{"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"},
    **{"qkv_proj": "attn_qkv", "gate_up_proj": "ffn_up"},
}


def adapter_over(folder, settings, into, words=None):
    """A random adapter of a base, saved; and its engine."""
    engine = prepare_(plain(folder))
    adapter = table.attach(engine, settings, name="a", **({"words": words} if words else {}))
    randomise(adapter)
    store.save(into, adapter, engine, base="tiny")
    return engine


def terms(path):
    """What llama.cpp adds to each weight, by its GGUF name, and the file's alpha."""
    reader = GGUFReader(path)
    alpha = reader.fields["adapter.lora.alpha"].contents()
    read = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
    stems = sorted({name.removesuffix(".lora_a").removesuffix(".lora_b") for name in read})
    a, b = ({stem: read[f"{stem}.lora_{x}"] for stem in stems} for x in "ab")
    return {s: alpha / a[s].shape[0] * b[s] @ a[s] for s in stems}, alpha


def expected(engine, name, kind, config):
    term = engine.linears[name].terms["a"]
    a, b = (t.double() for t in term.product())
    change = (term.scale * b @ a).numpy()
    piece = name.rpartition(".")[2]
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(piece)
    return (
        interleave(change, heads) if heads and gguf_families.FAMILIES[kind].interleaved else change
    )


@pytest.mark.parametrize(("name", "variant"), PAIRS)
def test_llama_cpp_would_add_what_is_added_here(name, variant, tmp_path):
    folder = base(name, tmp_path / "base")
    engine = adapter_over(folder, VARIANTS[variant], tmp_path / "a")
    written = write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf")
    found, _ = terms(written.path)
    layers = [name for name, linear in engine.linears.items() if "a" in linear.terms]
    assert len(GGUFReader(written.path).tensors) == 2 * len(layers) == 2 * len(found)
    for layer in layers:
        number, piece = layer.split(".")[2], layer.rpartition(".")[2]
        term = found[f"blk.{number}.{PIECES[piece]}.weight"]
        wanted = expected(engine, layer, kind_of(name), engine.model.config)
        np.testing.assert_allclose(term, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_alpha_is_the_users_where_all_layers_are_alike_and_folded_for_rslora(tmp_path):
    folder = base("llama", tmp_path / "base")
    for rslora, alpha in ((False, 7.0), (True, 7.0 * 2)):
        adapter_over(folder, LoraSettings(rank=4, alpha=7, rslora=rslora), tmp_path / "a")
        written = write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf")
        assert terms(written.path)[1] == pytest.approx(alpha)
        fields = GGUFReader(written.path).fields
        said = [fields[k].contents() for k in ("general.type", "adapter.type")]
        assert said == ["adapter", "lora"]
        assert fields["general.architecture"].contents() == "llama"
        assert not [key for key in fields if key.startswith("tokenizer.")]


def test_f16_adapters_are_half_as_large(tmp_path):
    folder = base("llama", tmp_path / "base")
    adapter_over(folder, LoraSettings(rank=4, alpha=7), tmp_path / "a")
    whole = write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf").path
    half = write_adapter(tmp_path / "a", folder, tmp_path / "b.gguf", number_format="f16").path
    for name, term in terms(half)[0].items():
        np.testing.assert_allclose(term, terms(whole)[0][name], rtol=0, atol=1e-3)
    sizes = [sum(t.n_bytes for t in GGUFReader(path).tensors) for path in (whole, half)]
    assert sizes[0] == 2 * sizes[1]


@pytest.mark.parametrize(
    ("settings", "words", "named"),
    [
        (LoraSettings(rank=2, dora=True), None, "DoRA's magnitudes"),
        (PromptSettings(init_text="x"), Words(init_text=[3, 4]), "not method prompt"),
        (PTuningSettings(init_text="x"), Words(init_text=[3, 4]), "not method p-tuning"),
        (LoraSettings(rank=2), Words(new_tokens={5: [7]}), "tokens of its own"),
    ],
)
def test_what_a_gguf_adapter_cannot_hold_is_refused_by_name(settings, words, named, tmp_path):
    folder = base("llama", tmp_path / "base")
    adapter_over(folder, settings, tmp_path / "a", words)
    with pytest.raises(AdapterError, match=named):
        write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_another_family_is_refused(tmp_path):
    from tests.models.tiny import tiny_folder

    folder = tiny_folder(tmp_path / "base", "hyperclovax")
    adapter_over(folder, LoraSettings(rank=2), tmp_path / "a")
    with pytest.raises(ModelError, match="'hyperclovax' cannot be written"):
        write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf")


def test_the_terms_of_one_layer_are_those_of_its_own_tensors(tmp_path):
    """Ranks and alphas by layer, as PEFT's patterns give them."""
    folder = base("llama", tmp_path / "base")
    settings = LoraSettings(
        rank=3, alpha=6, rank_pattern={"o_proj": 5}, alpha_pattern={"model.layers.1.*": 2}
    )
    engine = adapter_over(folder, settings, tmp_path / "a")
    reader = GGUFReader(write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf").path)
    shapes = {t.name: tuple(int(n) for n in t.shape) for t in reader.tensors}
    assert shapes["blk.0.attn_output.weight.lora_a"][1] == 5
    assert shapes["blk.0.attn_q.weight.lora_a"][1] == 3
    b = engine.linears["model.layers.0.mlp.up_proj"].terms["a"].b.detach()
    stored = next(t for t in reader.tensors if t.name == "blk.0.ffn_up.weight.lora_b")
    assert torch.equal(torch.from_numpy(stored.data.copy()), b)  # nothing folded where all is plain
