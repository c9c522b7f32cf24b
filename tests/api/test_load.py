"""`ts.load`: a base with adapters that come, go, answer, chat and score."""

import pytest
import torch

import tunesmith as ts
from tests.runs.tiny import config
from tunesmith.adapters.loaded_base import open_base
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.data.tokenizer import encode
from tunesmith.runs.run import train_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base, and two runs over it."""
    root = tmp_path_factory.mktemp("runs")
    made = {}
    for name, kind in (("a", "lora"), ("b", "prompt")):
        evaluate = {"forgetting": "none", "consistency": "none", "knowledge": "none"}
        out = str(root / name / "run")
        train_run(config(root, method={"kind": kind}, evaluate=evaluate, out=out))
        made[name] = root / name / "run"
    return root / "base", made


def test_a_run_answers_with_its_adapter_unless_another_is_named(runs):
    base, made = runs
    model = ts.load(made["a"], adapters={"b": made["b"]})
    assert model.adapters == ("run", "b")
    prompts = ["say 1", "say 2"]
    tuned, plain = (model.generate(prompts, adapter=name) for name in ("run", None))
    assert model.generate(prompts) == tuned
    assert model.generate(prompts, adapter=["run", None]) == [tuned[0], plain[1]]
    assert model.generate("say 1") == tuned[:1]
    assert ts.load(base).generate(prompts) == plain
    model.remove("run")
    assert model.adapters == ("b",)
    assert model.generate(prompts) == plain
    assert model.add(made["a"], name="again") == "again"
    assert model.generate(prompts, adapter="again") == tuned


def test_a_path_that_holds_nothing_is_no_name_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("runs/nope", "./nope", str(tmp_path / "nope")):
        with pytest.raises(ts.RunError, match="is not a run, adapter or base: there is no such"):
            ts.load(path)


def test_a_conversation_that_begins_anew_keeps_its_system_prompt(runs):
    talk = ts.chat(runs[0], system="Be brief.")
    talk.reset()
    assert talk.system == "Be brief."
    talk.reset("Be long.")
    assert talk.system == "Be long."
    talk.reset("")
    assert not talk.system


def test_one_stop_text_is_not_its_letters(runs):
    model = ts.load(runs[0])
    (whole,) = model.generate("say 1")
    stop = whole[1:3]
    cut = [whole[: whole.index(stop)]]
    assert model.generate("say 1", stop=stop) == model.generate("say 1", stop=[stop]) == cut


def test_what_is_not_loaded_is_refused(runs):
    model = ts.load(runs[0])
    with pytest.raises(ts.AdapterError, match="No adapter 'x' is loaded"):
        model.generate(["Hi"], adapter="x")
    with pytest.raises(ts.UsageError, match="1 prompt and 2 adapters"):
        model.generate(["Hi"], adapter=["x", None])
    with pytest.raises(ts.UsageError, match="top_p"):
        model.generate(["Hi"], top_p=0.0)


def test_a_score_is_the_sum_of_the_log_probabilities_of_the_answer(runs):
    base, made = runs
    model = ts.load(base, adapters={"a": made["a"]})
    answers = ["a b c", "d"]
    scores = model.score(["say 1", "say 2"], answers, adapter=[None, "a"])
    loaded = open_base(str(base))
    tokenizer = loaded.base.tokenizer
    prompt = render_prompt(tokenizer, [Message("user", "say 1")])
    (ids,) = encode(tokenizer, [answers[0]])
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=loaded.base.dtype)
    with torch.no_grad():
        logs = plain(torch.tensor([[*prompt, *ids]])).logits[0].float().log_softmax(-1)
    expected = sum(float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(ids))
    assert scores[0] == pytest.approx(expected, abs=1e-2)
    assert scores[1] < 0
    assert model.score("say 1", answers[0]) == model.score(["say 1"], answers[:1])
    with pytest.raises(ts.UsageError, match="1 prompt and 2 answers"):
        model.score("Hi", ["H", "o"])


def test_a_chat_keeps_its_history_and_tells_its_text_as_it_is_made(runs):
    model = ts.load(runs[0])
    talk = model.chat(max_new_tokens=4)
    pieces = []
    reply = talk.reply("say 1", on_text=pieces.append)
    assert "".join(pieces) == reply.text
    first = reply.text
    second = talk("say 2")
    talk.reset()
    assert talk("say 1") == first
    assert talk("say 2") == second


def test_several_answer_beside_each_other(runs):
    talk = ts.chat(runs[1]["a"], adapters=["base"], max_new_tokens=3)
    assert talk.participants == ("run", "base")
    assert isinstance(talk("say 1", participant="base"), str)
    with pytest.raises(ts.AdapterError, match="No participant is called 'x'"):
        talk("say 1", participant="x")
