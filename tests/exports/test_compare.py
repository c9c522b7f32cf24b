"""A file is compared with what it was made from: in real llama.cpp where that is to be had.

`TUNESMITH_LLAMA_PYTHON` names a Python that has llama-cpp-python, where this one has none.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import AutoTokenizer

from tests.adapters.test_store import VARIANTS, randomise
from tests.exports.bases import BASES, FAMILIES, WITHOUT_READER, base, plain
from tests.exports.test_gguf_adapter import adapter_over
from tests.models.tiny import tiny_folder
from tunesmith.adapters import merge
from tunesmith.adapters.folder import Origin
from tunesmith.adapters.merge import Target
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.data.rows import Message
from tunesmith.engine.forward import prepare_
from tunesmith.exports import llama_process
from tunesmith.exports.compare import Artefact, Here, compare
from tunesmith.exports.gguf_model import write_adapter, write_model
from tunesmith.exports.llama_process import find_python, require_python, write_k_quant
from tunesmith.methods import table
from tunesmith.models.load import load_base

pytestmark = pytest.mark.usefixtures("home")
slow = pytest.mark.slow
real = pytest.mark.skipif(find_python() is None, reason="llama-cpp-python is not here")

WORDS = "hello 12 hell  ollie\n\tzz é 漢字 🙂 <b> end. Don't 3.14 l'hello".split(" ")  # noqa: SIM905
TALKS = [
    *([Message("user", " ".join(WORDS[i:] + WORDS[:i]))] for i in range(len(WORDS))),
    *([Message("user", " ".join(WORDS[i : i + 3]))] for i in range(19 - len(WORDS))),
    [
        Message("system", "hell"),
        Message("user", "he"),
        Message("assistant", "l"),
        Message("user", "o"),
    ],
]
NEAR = 3e-3  # of the largest logit: llama.cpp rounds what it multiplies to f16


def here(folder, adapter=None, engine=None):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Here(engine or prepare_(plain(folder)), tokenizer, frozenset({2}), adapter)


def assert_same(found, *, near=NEAR):
    assert found.same_text, found.sentences()
    assert found.largest_difference <= near * found.largest_logit, found.sentences()
    ties = [fork for fork in found.forks if fork.gap > 2 * found.largest_difference]
    assert not ties, found.sentences()


@slow
@real
@pytest.mark.parametrize("name", BASES)
def test_llama_cpp_answers_as_the_base_does(name, tmp_path):
    folder = base(name, tmp_path / "base")
    written = write_model(folder, tmp_path / "m.gguf", number_format="f32")
    found = compare(here(folder), Artefact(written.path), TALKS, max_tokens=12)
    assert_same(found)  # all 20 answers, but for ties


@slow
@real
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        *((name, "plain") for name in FAMILIES | WITHOUT_READER),
        ("llama", "patterns"),
        ("qwen3", "olora, rslora"),
    ],
)
def test_llama_cpp_answers_as_base_and_adapter_do(name, variant, tmp_path):
    folder = base(name, tmp_path / "base")
    engine = adapter_over(folder, VARIANTS[variant], tmp_path / "a")
    model = write_model(folder, tmp_path / "m.gguf", number_format="f32").path
    adapter = write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf").path
    tuned = here(folder, "a", engine)
    assert_same(compare(tuned, Artefact(model, adapter), TALKS, max_tokens=12))
    # without the adapter it is another model, so that the comparison can tell
    alone = compare(tuned, Artefact(model), TALKS, max_tokens=12)
    assert alone.largest_difference > 3 * NEAR * alone.largest_logit


@slow
@real
def test_llama_cpp_answers_as_the_merged_model_does(tmp_path):
    folder = tiny_folder(tmp_path / "base")
    engine = prepare_(plain(folder))
    adapter = table.attach(engine, LoraSettings(rank=3, alpha=7, dora=True), name="a")
    randomise(adapter)
    origin = Origin("tiny", "0", "lora")
    merge.save(engine, adapter, Target(tmp_path / "merged", source=folder, origin=origin))
    model = write_model(tmp_path / "merged", tmp_path / "m.gguf", number_format="f32").path
    assert_same(compare(here(folder, "a", engine), Artefact(model), TALKS, max_tokens=12))


@slow
@real
def test_quantised_models_load_and_are_near(tmp_path):
    folder = tiny_folder(tmp_path / "base", hidden_size=256, intermediate_size=512)
    paths = [
        write_model(folder, tmp_path / "8.gguf", number_format="q8_0").path,
        write_k_quant(folder, tmp_path / "4.gguf", "q4_k").path,
    ]
    assert "Q4_K" in {t.tensor_type.name for t in GGUFReader(paths[1]).tensors}
    found = [compare(here(folder), Artefact(path), TALKS, max_tokens=4) for path in paths]
    assert all(each.same_text for each in found)
    errors = [each.largest_difference / each.largest_logit for each in found]
    assert errors[0] < 0.05 < errors[1] < 0.5
    assert not list(tmp_path.glob(".tmp-*"))


@slow
@real
def test_a_file_that_llama_cpp_cannot_read_is_told(tmp_path):
    folder = tiny_folder(tmp_path / "base")
    path = write_model(folder, tmp_path / "m.gguf").path
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(RunError, match=r"llama\.cpp failed"):
        compare(here(folder), Artefact(path), TALKS[:1])


@slow
@real
@pytest.mark.parametrize("adapted", [False, True])
def test_the_default_model_answers_alike_on_twenty_prompts(adapted, default_model_folder, tmp_path):
    """In f16 against this program in fp32; llama.cpp rounds activations, so that ties may break."""
    loaded = load_base(str(default_model_folder), dtype="float32")
    engine, adapter = prepare_(loaded.model), None
    model = write_model(default_model_folder, tmp_path / "m.gguf").path
    if adapted:
        attached = table.attach(engine, LoraSettings(rank=8, alpha=16), name="a")
        g = torch.Generator().manual_seed(0)
        for key, parameter in attached.parameters.items():
            if ".lora_B." in key:
                parameter.data.copy_(0.02 * torch.randn(parameter.shape, generator=g))
        attached.refresh()
        merge_into = tmp_path / "a"
        from tunesmith.adapters import store

        store.save(merge_into, attached, engine, base="smollm2")
        adapter = write_adapter(merge_into, default_model_folder, tmp_path / "a.gguf").path
    mine = Here(engine, loaded.tokenizer, loaded.stop_ids, "a" if adapted else None)
    found = compare(mine, Artefact(model, adapter), TWENTY, max_tokens=32)
    assert found.same_text, found.sentences()
    assert found.largest_difference < 0.02 * found.largest_logit, found.sentences()
    assert found.same_answers >= 18, found.sentences()
    assert all(fork.gap < 4 * found.largest_difference for fork in found.forks), found.sentences()


TWENTY = [
    [Message("user", text)]
    for text in (
        "What is the capital of France?",
        "Name three fruits.",
        "Write a short poem about rain.",
        "What is 17 + 25?",
        "Explain gravity to a child.",
        "Translate 'good morning' into Spanish.",
        "Give me a recipe for pancakes.",
        "Who wrote Romeo and Juliet?",
        "What is the opposite of hot?",
        "List the days of the week.",
        "How do I boil an egg?",
        "What is a prime number?",
        "Describe the ocean in one sentence.",
        "Why is the sky blue?",
        "Tell me a joke.",
        "What does a doctor do?",
        "Summarise: The cat sat on the mat because it was tired.",
        "Is the earth flat?",
        "Write a polite email that declines a meeting.",
        "Name a programming language and say what it is good for.",
    )
]


# ---- without llama.cpp: a stand-in that answers as a job says ----------------------------------


def stand_in(folder, monkeypatch, **changed):
    """A worker that repeats the job's prompts and gives fixed answers and logits."""
    worker = folder / "worker.py"
    worker.write_text(
        "import json, sys\n"
        "import numpy as np\n"
        "job = json.load(open(sys.argv[1]))\n"
        "said = json.loads(" + repr(json.dumps(changed)) + ")\n"
        "rows = [{'ids': p['ids'], 'answer': said['answers'][i], 'rendered': p['text'],\n"
        "         'failure': None, **said.get('row', {})} for i, p in enumerate(job['prompts'])]\n"
        "np.save(job['logits'], np.load(said['logits']))\n"
        "ends = [said.get('ends', True)] * len(job['stop_ids'])\n"
        "json.dump({'version': '0', 'template': said['template'], 'rows': rows, 'ends': ends},\n"
        "          open(sys.argv[2], 'w'))\n"
    )
    monkeypatch.setattr(llama_process, "WORKER", worker)
    return Path(sys.executable)


@pytest.fixture
def truth(tmp_path):
    """A base here, two talks, and what it answers: answers, logits."""
    from tunesmith.data.chat_text import chat_text, given
    from tunesmith.exports import compare as module

    folder = base("llama", tmp_path / "base")
    mine, talks = here(folder), TALKS[:2]
    asked = module.prompts_of(mine, talks, 6)
    assert asked.texts == [chat_text(mine.tokenizer, given(talk), prompt=True) for talk in talks]
    answers = [a for _, a in sorted(module.greedy_answers(mine, asked).items())]
    logits = torch.stack([module.first_scores(mine, each) for each in asked.ids]).numpy()
    np.save(tmp_path / "logits.npy", logits)
    said = {"answers": answers, "template": mine.tokenizer.chat_template}
    return mine, talks, {**said, "logits": str(tmp_path / "logits.npy")}


def run(truth, tmp_path, monkeypatch, **changed):
    mine, talks, said = truth
    python = stand_in(tmp_path, monkeypatch, **{**said, **changed})
    return compare(mine, Artefact(tmp_path / "m.gguf"), talks, python=python, max_tokens=6)


def test_what_is_the_same_is_told_so(truth, tmp_path, monkeypatch):
    found = run(truth, tmp_path, monkeypatch)
    assert (found.same_answers, found.prompts, found.forks) == (2, 2, ())
    assert found.same_text
    assert found.largest_difference == 0
    assert "2 of 2 greedy answers are the same" in found.sentences()[0]
    assert "byte by byte" in found.sentences()[-1]


def test_a_fork_is_placed_and_measured(truth, tmp_path, monkeypatch):
    said = truth[2]
    answers = [list(each) for each in said["answers"]]
    answers[1][3] = (answers[1][3] + 1) % 250
    found = run(truth, tmp_path, monkeypatch, answers=answers)
    (fork,) = found.forks
    assert (fork.prompt, fork.token) == (1, 3)
    assert fork.gap > 0  # greedy: nothing scores higher here
    assert found.same_answers == 1
    answers[1] = said["answers"][1][:2]  # ended early
    (fork,) = run(truth, tmp_path, monkeypatch, answers=answers).forks
    assert (fork.prompt, fork.token) == (1, 2)


def test_the_largest_difference_is_that_of_any_logit(truth, tmp_path, monkeypatch):
    logits = np.load(truth[2]["logits"])
    logits[1, 77] -= 0.25
    np.save(tmp_path / "other.npy", logits)
    found = run(truth, tmp_path, monkeypatch, logits=str(tmp_path / "other.npy"))
    assert found.largest_difference == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"template": "another"}, "The template in the file differs"),
        ({"row": {"rendered": "x"}}, "Prompts that llama.cpp reads differently: (0, 1)"),
        ({"row": {"ids": [1]}}, "Prompts that llama.cpp reads differently: (0, 1)"),
        ({"row": {"rendered": None, "failure": "it broke"}}, "it broke"),
        ({"ends": False}, "does not end an answer at the tokens (2,)"),
    ],
)
def test_other_texts_are_told(changed, said, truth, tmp_path, monkeypatch):
    found = run(truth, tmp_path, monkeypatch, **changed)
    assert not found.same_text
    assert said in " ".join(found.sentences())


def test_a_python_without_llama_cpp_is_refused_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.delenv(llama_process.PYTHON, raising=False)
    monkeypatch.setattr(llama_process.importlib.util, "find_spec", lambda _: None)
    assert find_python() is None
    with pytest.raises(TunesmithError, match="pip install llama-cpp-python"):
        require_python()
    with pytest.raises(TunesmithError, match="is no Python that can be run"):
        require_python(tmp_path / "none")
    monkeypatch.setenv(llama_process.PYTHON, sys.executable)
    assert find_python() == Path(sys.executable)


def test_a_worker_that_fails_is_told_with_its_last_lines(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text("import sys\nsys.exit('the file is odd')")
    monkeypatch.setattr(llama_process, "WORKER", worker)
    with pytest.raises(RunError, match=r"llama\.cpp failed .*the file is odd"):
        llama_process.ask(Path(sys.executable), {})


def test_a_k_quant_leaves_no_16_bit_file_when_it_fails(tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path / "base")
    worker = tmp_path / "worker.py"
    worker.write_text("import sys\nsys.exit(1)")
    monkeypatch.setattr(llama_process, "WORKER", worker)
    with pytest.raises(RunError):
        write_k_quant(folder, tmp_path / "m.gguf", "q4_k", python=Path(sys.executable))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "worker.py"]
    assert shutil.which(sys.executable)
