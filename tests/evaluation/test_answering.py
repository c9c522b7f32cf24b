"""Answers that are kept: found again by all that they depend on, and by nothing else."""

import dataclasses

import pytest
import torch

from tests.runs.tiny import base_folder
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.config.methods import FullSettings, LoraSettings
from tunesmith.evaluation.answering import CachedAnswer, fingerprint, open_cache
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling
from tunesmith.methods import table

STOP = frozenset({2, 3})
GREEDY = Sampling(max_new_tokens=8)
PROMPT = Prompt((5, 6, 7), limit=20)
SAID = CachedAnswer((9, 8), "stop")


@pytest.fixture
def loaded(tmp_path):
    return open_base(str(base_folder(tmp_path / "base")), dtype="float32")


def attached(loaded, folder, name="mine"):
    adapter = table.attach(loaded.engine, LoraSettings(rank=2), name=name)
    store.save(folder, adapter, loaded.engine, base="base")
    return adapter


def test_an_answer_is_found_again_by_another_process():
    open_cache("me", GREEDY, STOP).keep(PROMPT, SAID)
    again = open_cache("me", GREEDY, STOP)
    assert again.said(PROMPT) == SAID
    # who asks in which arm changes no answer
    assert again.said(dataclasses.replace(PROMPT, opening="examples", adapter="x")) == SAID


@pytest.mark.parametrize(
    ("participant", "sampling", "stop", "prompt"),
    [
        ("you", GREEDY, STOP, PROMPT),
        ("me", Sampling(max_new_tokens=9), STOP, PROMPT),
        ("me", Sampling(max_new_tokens=8, temperature=1.0), STOP, PROMPT),
        ("me", GREEDY, frozenset({2}), PROMPT),
        ("me", GREEDY, STOP, Prompt((5, 6, 8), limit=20)),
        ("me", GREEDY, STOP, Prompt((5, 6, 7), limit=1)),
    ],
)
def test_what_an_answer_depends_on_makes_it_another(participant, sampling, stop, prompt):
    open_cache("me", GREEDY, STOP).keep(PROMPT, SAID)
    assert open_cache(participant, sampling, stop).said(prompt) is None


@pytest.mark.parametrize("left", [b'{"prompt": "ab', b"\xff\xfe", b"null", b'{"ids": 3}\n'])
def test_a_line_that_a_kill_cut_off_costs_only_itself(left):
    cache = open_cache("me", GREEDY, STOP)
    cache.keep(PROMPT, SAID)
    with cache.path.open("ab") as file:
        file.write(left)
    other = Prompt((1,))
    open_cache("me", GREEDY, STOP).keep(other, CachedAnswer((), "length"))
    again = open_cache("me", GREEDY, STOP)
    assert (again.said(PROMPT), again.said(other)) == (SAID, CachedAnswer((), "length"))


def test_a_cache_that_cannot_be_written_costs_no_answer(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tunesmith.evaluation.score_cache.cache_root", lambda: tmp_path / "file")
    cache = open_cache("me", GREEDY, STOP)
    cache.keep(PROMPT, SAID)
    assert cache.said(PROMPT) == SAID


def test_a_saved_adapter_is_the_same_participant_when_it_is_loaded(loaded, tmp_path):
    adapter = attached(loaded, tmp_path / "adapter")
    before = fingerprint(loaded.base, adapter, tmp_path / "adapter")
    reloaded = attach_folder(loaded, tmp_path / "adapter", name="again")
    assert fingerprint(loaded.base, reloaded, tmp_path / "adapter") == before
    assert before != fingerprint(loaded.base)


def test_a_tensor_that_changed_is_another_participant(loaded, tmp_path):
    adapter = attached(loaded, tmp_path / "adapter")
    before = fingerprint(loaded.base, adapter, tmp_path / "adapter")
    next(iter(adapter.parameters.values())).data.view(-1)[-1] += 1e-6
    assert fingerprint(loaded.base, adapter, tmp_path / "adapter") != before


def test_the_adapters_settings_are_part_of_its_fingerprint(loaded, tmp_path):
    adapter = attached(loaded, tmp_path / "adapter")
    before = fingerprint(loaded.base, adapter, tmp_path / "adapter")
    config = tmp_path / "adapter" / store.CONFIG
    config.write_text(config.read_text().replace('"lora_alpha": ', '"lora_alpha": 1'))
    assert fingerprint(loaded.base, adapter, tmp_path / "adapter") != before


def test_number_format_and_bytes_of_the_base_are_part_of_a_fingerprint(loaded, tmp_path):
    base = loaded.base
    assert fingerprint(dataclasses.replace(base, dtype=torch.bfloat16)) != fingerprint(base)
    other = base_folder(tmp_path / "other")
    weights = next(other.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    assert fingerprint(dataclasses.replace(base, folder=other)) != fingerprint(base)


def test_a_model_that_was_trained_is_the_participant_of_its_own_folder(loaded, tmp_path):
    full = table.attach(loaded.engine, FullSettings(), name="full")
    result = base_folder(tmp_path / "model", "qwen2")
    trained = fingerprint(loaded.base, full, result)
    assert trained == fingerprint(dataclasses.replace(loaded.base, folder=result))
    assert trained != fingerprint(loaded.base)
