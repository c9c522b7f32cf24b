"""A run that adds tokens: read as one id, written in answers, kept with the adapter, resumed."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.runs.tiny import config
from tunesmith.conversation.chat import open_chat
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import Progress
from tunesmith.generation.sampling import Sampling
from tunesmith.runs.adapter_record import record_of, settings_of
from tunesmith.runs.locate import locate
from tunesmith.runs.run import resume_run, train_run

METHOD = {"kind": "lora", "rank": 2, "new_tokens": ["<intent>"]}


def go(folder, **options):
    made = config(folder, method=METHOD, data=data(folder))
    return train_run(made, progress=Progress(**options))


def data(folder):
    rows = [{"prompt": f"say {i} <intent>", "completion": f"<intent> {i * 7}"} for i in range(24)]
    (folder / "tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"train": str(folder / "tokens.jsonl"), "eval": 0.2}


def test_a_new_token_is_one_id_and_its_row_is_trained(tmp_path):
    summary = go(tmp_path)
    base = AutoTokenizer.from_pretrained(tmp_path / "base")
    tuned = AutoTokenizer.from_pretrained(summary.adapter)
    (token,) = tuned("<intent>", add_special_tokens=False).input_ids
    assert token == len(base)
    assert len(base("<intent>", add_special_tokens=False).input_ids) > 1
    assert tuned.decode([token], skip_special_tokens=True) == "<intent>"
    written = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert set(map(tuple, written["trainable_token_indices"].values())) == {(token,)}
    assert settings_of(record_of(Path(summary.adapter)))["new_tokens"] == ["<intent>"]
    assert "resize_token_embeddings" in (tmp_path / "run/adapter/README.md").read_text()


def test_both_arms_and_a_chat_answer_each_with_its_own_tokenizer(tmp_path):
    summary = go(tmp_path)
    assert set(summary.evaluation["arms"]) == {"base", "tuned"}
    chat = open_chat(
        locate(str(tmp_path / "run"), ["base"]), sampling=Sampling(max_new_tokens=3), seed=0
    )
    for participant in chat.participants:
        reply = participant.reply("say 3 <intent>")
        assert reply.tokens >= 1


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    go(tmp_path / "whole")
    calls = iter(range(100))
    go(tmp_path / "parts", cancelled=lambda: next(calls) >= 2)
    resume_run(tmp_path / "parts" / "run")
    whole, parts = (
        (tmp_path / name / "run" / "adapter" / "adapter_model.safetensors").read_bytes()
        for name in ("whole", "parts")
    )
    assert whole == parts


def test_a_run_continues_from_an_adapter_with_its_tokens(tmp_path):
    first = go(tmp_path)
    method = {"kind": "lora", "init": first.adapter}
    made = config(tmp_path, method=method, data=data(tmp_path), out=str(tmp_path / "second"))
    second = train_run(made)
    tuned = AutoTokenizer.from_pretrained(second.adapter)
    assert len(tuned("<intent>", add_special_tokens=False).input_ids) == 1


def test_empty_and_repeated_tokens_are_refused(tmp_path):
    for tokens in ([" "], ["<a>", "<a>"]):
        with pytest.raises(ConfigError, match="each token must be a text"):
            config(tmp_path, method={**METHOD, "new_tokens": tokens})
