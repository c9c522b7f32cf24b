"""An adapter handed over in every form: written, run where its program is here, compared."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from gguf import GGUFReader
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.adapters.test_store import randomise
from tests.runs.tiny import talking_base
from tunesmith.adapters import store
from tunesmith.adapters.folder import FILE, Origin, read_origin, recorded_files, write_origin
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.core.errors import AdapterError, UsageError
from tunesmith.core.files import sha256_of
from tunesmith.core.progress import Notice, Progress
from tunesmith.data.tokenizer import add_tokens_
from tunesmith.exports import compare_folder, writers
from tunesmith.exports import export as export_check
from tunesmith.exports.export import ExportOrder, export_adapter
from tunesmith.exports.gguf_model import GgufFile
from tunesmith.exports.llama_process import find_python
from tunesmith.methods import table
from tunesmith.methods.adapter import Words
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.runs.locate import find_adapter

pytestmark = pytest.mark.usefixtures("home")
SETTINGS = {
    "lora": LoraSettings(rank=3, alpha=7, rslora=True, rank_pattern={"o_proj": 2}),
    "dora": LoraSettings(rank=3, alpha=7, dora=True),
    "qlora": LoraSettings(kind="qlora", rank=3),
    "prompt": PromptSettings(tokens=3, init="random"),
    "p-tuning": PTuningSettings(tokens=2),
}
CASES = [
    *(("peft", kind) for kind in ("lora", "dora", "prompt", "p-tuning")),
    ("vllm", "lora"),
    ("merged", "lora"),
    ("merged", "dora"),
    ("merged", "qlora"),
]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    base = talking_base(root / "base")
    sha256 = hash_folder(base)[COMBINED]
    for kind, settings in SETTINGS.items():
        loaded = open_base(str(base), dtype="float32", device="cpu", four_bit=kind == "qlora")
        adapter = table.attach(loaded.engine, settings, name=kind)
        randomise(adapter)

        def beside(into, kind=settings.kind):
            write_origin(into, Origin(str(base), sha256, kind))

        store.save(root / kind, adapter, loaded.engine, base=str(base), beside=beside)
    return root


@pytest.fixture(scope="module")
def with_tokens(adapters):
    """An adapter with a token of its own, and the tokenizer that reads it."""
    loaded = open_base(str(adapters / "base"), dtype="float32", device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(adapters / "base")
    words = Words(add_tokens_(tokenizer, ["<intent>"]))
    adapter = table.attach(loaded.engine, LoraSettings(rank=2), name="a", words=words)
    randomise(adapter)
    beside = tokenizer.save_pretrained
    store.save(adapters / "tokens", adapter, loaded.engine, base="base", beside=beside)
    return adapters


def export(adapters, kind, to, out, **options):
    order = ExportOrder(to, out, **{"prompts": 2, **options})
    return export_adapter(find_adapter(str(adapters / kind)), order)


@pytest.mark.parametrize(("to", "kind"), CASES)
def test_what_is_handed_over_answers_alike(to, kind, adapters, tmp_path):
    done = export(adapters, kind, to, tmp_path / "out")
    found = done.comparison
    assert (done.not_run, done.kind, done.out) == ("", to, tmp_path / "out")
    assert found.program == ("transformers" if to == "merged" else "PEFT")
    assert found.largest_difference < 2e-5 * max(1.0, found.largest_logit)
    assert found.same_answers == found.prompts == 2
    assert found.same_template
    assert not found.other_prompts
    document = done.to_json()
    assert document["largest_difference"] == found.largest_difference
    assert document["scores"] == {"same_answers": {"score": 1.0, "n": 2}}
    assert document["bytes"] == sum(p.stat().st_size for p in done.out.rglob("*"))


@pytest.mark.parametrize("to", ["peft", "merged"])
def test_tokens_of_its_own_go_along(to, with_tokens, tmp_path):
    found = find_adapter(str(with_tokens / "tokens"))
    order = ExportOrder(to, tmp_path / "out", prompts=2)
    done = export_adapter(found, order, model=str(with_tokens / "base"))
    assert done.comparison.largest_difference < 2e-5 * max(1.0, done.comparison.largest_logit)
    assert done.comparison.same_answers == 2
    tokenizer = AutoTokenizer.from_pretrained(done.out)
    assert len(tokenizer("<intent>", add_special_tokens=False).input_ids) == 1


@pytest.mark.parametrize("to", ["merged", "ollama", "vllm"])
def test_a_chat_template_of_its_own_goes_along(to, adapters, tmp_path, monkeypatch):
    monkeypatch.setattr(export_check, "find_python", lambda: None)
    own = shutil.copytree(adapters / "lora", tmp_path / "own")
    (own / FILE).unlink()
    tokenizer = AutoTokenizer.from_pretrained(adapters / "base")
    template = tokenizer.chat_template = tokenizer.chat_template.replace(
        "m['role']", "m['role'].upper()"
    )
    tokenizer.save_pretrained(own)
    order = ExportOrder(to, tmp_path / "out", prompts=2)
    done = export_adapter(find_adapter(str(own)), order, model=str(adapters / "base"))
    if to == "ollama":
        fields = GGUFReader(done.out / "model.gguf").fields
        assert fields["tokenizer.chat_template"].contents() == template
    else:
        assert done.comparison.same_template
        assert done.comparison.same_answers == 2
        assert AutoTokenizer.from_pretrained(done.out).chat_template == template
    assert any("Use the chat template in" in note for note in done.notes) == (to == "vllm")


def test_a_merged_model_says_under_which_system_message(adapters, tmp_path):
    own = shutil.copytree(adapters / "lora", tmp_path / "own")
    origin = replace(read_origin(own), system="Be brief.", template_options={"thinking": True})
    write_origin(own, origin)
    tokenizer = AutoTokenizer.from_pretrained(adapters / "base")
    tokenizer.chat_template += "{% if thinking %}{% endif %}"
    tokenizer.save_pretrained(own)
    for to in ("merged", "vllm"):
        order = ExportOrder(to, tmp_path / to, prompts=0, merged=to == "vllm")
        done = export_adapter(find_adapter(str(own)), order, model=str(adapters / "base"))
        assert any(note.endswith("it was trained under: Be brief.") for note in done.notes)
        card = (done.out / "README.md").read_text()
        assert "```text\nBe brief.\n```" in card
        assert '{"thinking": true}' in card


def test_a_comparison_sees_another_adapter(adapters, tmp_path):
    export(adapters, "lora", "peft", tmp_path / "out")
    wrong = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    wrong["lora_alpha"] = 70
    (tmp_path / "out" / "adapter_config.json").write_text(json.dumps(wrong))
    loaded = open_base(str(adapters / "base"), dtype="float32", device="cpu")
    store.load(loaded.engine, adapters / "lora", name="a")
    here = compare_folder.Here(loaded.engine, loaded.base.tokenizer, loaded.base.stop_ids, "a")
    talks = [[export_check.Message("user", "hello")]]
    found = compare_folder.compare_adapter(here, tmp_path / "out", adapters / "base", talks)
    assert found.largest_difference > 1e-2


def test_without_peft_the_folder_is_read_back_and_that_is_said(adapters, tmp_path, monkeypatch):
    for module in (compare_folder, export_check):
        monkeypatch.setattr(module, "has_peft", lambda: False)
    done = export(adapters, "lora", "vllm", tmp_path / "out")
    assert "PEFT is not installed here, so it was not run there" in done.not_run
    assert done.comparison.program == "tunesmith"
    assert done.comparison.largest_difference < 1e-4


@pytest.mark.parametrize("merged", [False, True])
def test_without_llama_cpp_the_files_are_there_and_that_is_said(
    merged, adapters, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_check, "find_python", lambda: None)
    done = export(adapters, "lora", "ollama", tmp_path / "out", merged=merged)
    files = {path.name for path in done.out.iterdir()}
    assert files == {"model.gguf", "Modelfile", *([] if merged else ["adapter.gguf"])}
    modelfile = (done.out / "Modelfile").read_text()
    assert "FROM ./model.gguf" in modelfile
    assert ("ADAPTER ./adapter.gguf" in modelfile) != merged
    assert "llama.cpp is not installed" in done.not_run
    assert done.to_json()["largest_difference"] is None
    kept = export(adapters, "lora", "gguf", tmp_path / "g", merged=merged)
    assert [p.name for p in kept.out.iterdir()] == ["model.gguf" if merged else "adapter.gguf"]


def test_a_model_that_memory_does_not_hold_twice_is_written_and_not_run(
    adapters, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_check, "available_bytes", lambda device: 1000)
    done = export(adapters, "lora", "merged", tmp_path / "out")
    assert "both models take" in done.not_run
    AutoModelForCausalLM.from_pretrained(done.out)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_merged_model_is_whole_in_the_format_asked_for(dtype, adapters, tmp_path):
    done = export(adapters, "lora", "merged", tmp_path / "out", dtype=dtype, prompts=0)
    model = AutoModelForCausalLM.from_pretrained(done.out)
    assert model.dtype == getattr(torch, dtype)
    talk = [{"role": "user", "content": "hello"}]
    own, base = (AutoTokenizer.from_pretrained(each) for each in (done.out, adapters / "base"))
    assert own.apply_chat_template(talk) == base.apply_chat_template(talk)
    assert (done.out / "generation_config.json").is_file()
    made, own = read_origin(done.out), read_origin(adapters / "lora")
    assert (made.sha256, made.kind, made.base) == (own.sha256, own.kind, "base")
    recorded = recorded_files(done.out)
    assert recorded["model.safetensors"] == sha256_of(done.out / "model.safetensors")
    assert "0 prompts were requested" in done.not_run


@pytest.mark.parametrize(("to", "merged"), [("gguf", True), ("ollama", False)])
def test_a_gguf_model_is_written_in_8_bits(to, merged, adapters, tmp_path):
    sizes = [
        (export(adapters, "lora", to, tmp_path / name, merged=merged, **more).out / "model.gguf")
        .stat()
        .st_size
        for name, more in (("f16", {"prompts": 0}), ("q8", {"prompts": 0, "quantize": "q8_0"}))
    ]
    assert sizes[1] < sizes[0]


def test_tensors_that_8_bits_do_not_fit_are_reported(adapters, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(writers, "write_model", lambda _, path, **__: GgufFile(path, ("a", "b")))
    order = ExportOrder("gguf", tmp_path / "out", merged=True, prompts=0, quantize="q8_0")
    export_adapter(find_adapter(str(adapters / "lora")), order, progress=Progress(told.append))
    (notice,) = [each.message for each in told if isinstance(each, Notice)]
    assert notice == "2 tensors of model.gguf in float16, as 32 does not divide the rows: a, b"


@pytest.mark.skipif(find_python() is None, reason="llama.cpp is not installed")
def test_a_gguf_model_is_quantized_by_llama_cpp(adapters, tmp_path):
    done = export(adapters, "lora", "gguf", tmp_path / "out", merged=True, quantize="q6_k")
    assert [path.name for path in done.out.iterdir()] == ["model.gguf"]
    assert done.comparison.program == "llama.cpp"


@pytest.mark.parametrize(
    ("kind", "to", "options", "message"),
    [
        ("lora", "merged", {"quantize": "q8_0"}, "for the model in a GGUF file"),
        ("lora", "gguf", {"quantize": "q4_k"}, "for the model in a GGUF file"),
        ("lora", "ollama", {"quantize": "q8_0", "dtype": "float16"}, "give one"),
        ("lora", "gguf", {"into": "original"}, "nothing is merged"),
        ("lora", "merged", {"into": "original"}, "not trained over a 4-bit base"),
    ],
)
def test_options_without_an_effect_are_wrong_usage(kind, to, options, message, adapters, tmp_path):
    with pytest.raises(UsageError, match=message):
        export(adapters, kind, to, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_a_4_bit_base_is_merged_into_the_original_and_says_so(adapters, tmp_path):
    notes, weights = {}, {}
    for into in ("trained", "original"):
        done = export(adapters, "qlora", "merged", tmp_path / into, into=into, prompts=0)
        (notes[into],) = done.notes
        weights[into] = load_file(done.out / "model.safetensors")
    assert "the base that the adapter was trained on, dequantized from 4-bit" in notes["trained"]
    assert "Merged into the original base, whose linear layers differ" in notes["original"]
    layer = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weights["trained"][layer], weights["original"][layer])


def test_a_4_bit_base_is_that_of_the_runs_number_format(adapters, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(adapters / "qlora", run / "adapter")
    (run / "config.yaml").write_text(
        yaml.safe_dump({"model": str(adapters / "base"), "method": {"kind": "qlora"}})
    )
    layer = "model.layers.0.mlp.up_proj"
    for dtype in ("bfloat16", "float16"):  # the weights are float32, and round to other codes
        (run / "environment.json").write_text(json.dumps({"dtype": dtype}))
        done = export(tmp_path, "run", "merged", tmp_path / dtype, dtype="float32")
        assert done.comparison.largest_difference < 2e-5 * done.comparison.largest_logit
        base = str(adapters / "base")
        trained = open_base(base, dtype=dtype, device="cpu", four_bit=True).engine
        store.load(trained, adapters / "qlora", name="a")
        linear = trained.linears[layer]
        expected = linear.terms["a"].merged(linear.dense(torch.float32))
        weight = load_file(done.out / "model.safetensors")[f"{layer}.weight"]
        torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-6)
    copies = {path.name.rpartition("-")[2] for path in (tmp_path / "home").glob("four_bit/base-*")}
    assert copies == {"bfloat16", "float16"}


def test_dora_goes_to_vllm_merged_or_not_at_all(adapters, tmp_path):
    with pytest.raises(AdapterError, match="DoRA") as refused:
        export(adapters, "dora", "vllm", tmp_path / "out")
    assert "--to vllm --merged" in refused.value.remedy
    done = export(adapters, "dora", "vllm", tmp_path / "out", merged=True)
    assert done.comparison.same_answers == 2
    assert done.next == (f"vllm serve {tmp_path / 'out'}",)


def test_an_adapter_for_vllm_says_how_it_is_served(adapters, tmp_path):
    done = export(adapters, "lora", "vllm", tmp_path / "out", prompts=0)
    (line,) = done.next
    assert "--enable-lora --max-lora-rank 8 --lora-modules out=" in line
    assert "vLLM itself was not run: PEFT reads the same folder." in done.notes


def test_what_cannot_be_is_refused_before_anything_is_written(adapters, tmp_path):
    with pytest.raises(AdapterError, match="exists already"):
        export(adapters, "lora", "peft", adapters / "lora")
    with pytest.raises(UsageError, match="not an adapter for PEFT"):
        export(adapters, "lora", "peft", tmp_path / "out", merged=True)
    for to in ("merged", "vllm", "gguf"):
        with pytest.raises(AdapterError):
            export(adapters, "prompt", to, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} <= {"home"}


def test_an_adapter_of_another_base_is_not_exported(adapters, tmp_path):
    other = shutil.copytree(adapters / "base", tmp_path / "other")
    (other / "generation_config.json").write_text('{"eos_token_id": 0}')
    order = ExportOrder("peft", tmp_path / "out")
    with pytest.raises(AdapterError, match="not made for this base: its base"):
        export_adapter(find_adapter(str(adapters / "lora")), order, model=str(other), force=True)


def test_peft_loads_what_was_exported_in_16_bit(adapters, tmp_path):
    done = export(adapters, "lora", "peft", tmp_path / "out", dtype="bfloat16")
    base = AutoModelForCausalLM.from_pretrained(adapters / "base")
    PeftModel.from_pretrained(base, done.out)
    assert done.comparison.largest_difference < 0.05 * done.comparison.largest_logit
