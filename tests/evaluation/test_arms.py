"""The arms: what each one's prompts hold, which are left out, and that none is asked twice."""

import json

import pytest

from tests.runs.tiny import base_folder, config, rows_file
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.evaluate import EvaluateSettings
from tunesmith.config.methods import PTuningSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import Cancelled, Notice, Phase, Progress
from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluation import answering
from tunesmith.evaluation.answers import questions_of
from tunesmith.evaluation.arms import arm_of, base_arms, read_instruction
from tunesmith.generation import loop
from tunesmith.generation.decoder import Decoder
from tunesmith.methods import table
from tunesmith.runs.run import resume_run, train_run
from tunesmith.studies.compare import compare_runs
from tunesmith.studies.variants import Variant
from tunesmith.training.events import Planned

INSTRUCTION = "Say seven times the number that you are told, and nothing else."


@pytest.fixture
def loaded(tmp_path):
    return open_base(str(base_folder(tmp_path / "base")), dtype="float32")


def row(i, *before):
    said = (Message("user", f"say {i}"), Message("assistant", f"it is {7 * i}"))
    return Conversation((*before, *said), "f", i)


def settings(**changes):
    return EvaluateSettings.model_validate(
        {"checks": [{"kind": "exact"}], "max_new_tokens": 8, "num_fewshot": 2, **changes}
    )


def arms_of(loaded, settings, held=4, rows=20):
    questions = questions_of([row(i) for i in range(held)], loaded.base.tokenizer, limit=99)
    trained = [row(i) for i in range(50, 50 + rows)]
    return base_arms(loaded, questions, settings, rows=trained, seed=0)


def text(loaded, prompt):
    return loaded.base.tokenizer.decode(prompt.ids)


def test_each_arm_asks_the_same_question_under_its_own_prompt(loaded):
    found = arms_of(loaded, settings(baseline_prompt=INSTRUCTION))
    assert list(found.arms) == ["base", "prompted", "examples"]
    assert found.left_out == {}
    for i in range(4):
        short, long, shown = (text(loaded, arm.prompts[i]) for arm in found.arms.values())
        last = f"<|im_start|>user\nsay {i}<|im_end|>\n<|im_start|>assistant\n"
        assert short == last
        assert long == f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n{last}"
        assert shown.endswith(last)
        assert shown.count("<|im_start|>assistant") == 3
        assert all(example.messages[-1].content in shown for example in found.examples)


def test_the_instructions_stand_in_front_of_the_rows_own_system_prompt(loaded):
    questions = questions_of([row(1, Message("system", "own"))], loaded.base.tokenizer, limit=9)
    found = base_arms(loaded, questions, settings(baseline_prompt=INSTRUCTION), rows=[], seed=0)
    said = text(loaded, found.arms["prompted"].prompts[0])
    assert said.startswith(f"<|im_start|>system\n{INSTRUCTION}\n\nown<|im_end|>")


def test_there_is_no_prompted_arm_without_a_prompt_and_none_of_examples_without_any(loaded):
    assert list(arms_of(loaded, settings(num_fewshot=0)).arms) == ["base"]
    assert list(arms_of(loaded, settings()).arms) == ["base", "examples"]
    without = arms_of(loaded, settings(), rows=0)
    assert without.left_out == {"examples": "no training row can serve as an example"}


@pytest.mark.parametrize("name", ["prompted", "examples"])
def test_an_arm_that_does_not_fit_is_left_out_with_its_numbers_and_the_others_stay(loaded, name):
    given = {"num_fewshot": 30} if name == "examples" else {"baseline_prompt": "so it is " * 60}
    found = arms_of(loaded, settings(**given), rows=60)
    assert name not in found.arms
    assert set(found.arms) | {name} >= {"base", "examples"}
    said = found.left_out[name]
    assert "4 prompts of 4" in said
    assert "do not fit the model's context of 256" in said
    assert "evaluate." in said


def test_an_arm_whose_answers_have_as_much_room_as_the_bases_stays(loaded):
    # an answer of 250 tokens does not fit behind any prompt: the base's is cut by the context too
    found = arms_of(loaded, settings(max_new_tokens=5, num_fewshot=3))
    limit = [prompt.limit for prompt in found.arms["examples"].prompts]
    assert min(limit) >= 5
    assert all(
        m + len(p.ids) == 256 for m, p in zip(limit, found.arms["examples"].prompts, strict=True)
    )
    assert "examples" in arms_of(loaded, settings(max_new_tokens=256)).left_out


def test_no_training_row_that_asks_what_a_held_out_row_asks_is_an_example(loaded):
    questions = questions_of([row(i) for i in range(4)], loaded.base.tokenizer, limit=99)
    rows = [row(i) for i in range(6)]
    found = base_arms(loaded, questions, settings(num_fewshot=6), rows=rows, seed=0)
    assert sorted(each.line for each in found.examples) == [4, 5]


def test_virtual_tokens_take_room_and_are_counted_apart(loaded):
    table.attach(loaded.engine, PTuningSettings(tokens=5), name="mine")
    questions = questions_of([row(1)], loaded.base.tokenizer, limit=9)
    arm = arm_of(loaded, "tuned", questions, adapter="mine")
    base = arm_of(loaded, "base", questions)
    assert (arm.virtual_tokens, base.virtual_tokens) == (5, 0)
    assert arm.prompt_tokens == base.prompt_tokens == len(base.prompts[0].ids)
    assert arm.prompts[0].limit == base.prompts[0].limit - 5


def test_instructions_are_a_text_or_its_file(tmp_path):
    file = tmp_path / "long instructions.txt"
    file.write_text("\ufeff" + INSTRUCTION + "\n", encoding="utf-8")
    for given in (INSTRUCTION, str(file)):
        assert read_instruction(settings(baseline_prompt=given)) == INSTRUCTION
    assert read_instruction(settings()) is None
    file.write_text(" \n")
    with pytest.raises(ConfigError, match="is empty"):
        read_instruction(settings(baseline_prompt=str(file)))


def test_instructions_whose_file_is_missing_end_the_run_before_it_begins(tmp_path):
    evaluate = {"checks": [{"kind": "exact"}], "baseline_prompt": "prompts/none.txt"}
    with pytest.raises(ConfigError, match=r"prompts/none\.txt cannot be read: No such file"):
        train_run(config(tmp_path, evaluate=evaluate))
    assert not (tmp_path / "run").exists()


def made(folder, **changes):
    evaluate = {
        "checks": [{"kind": "exact"}, {"kind": "contains", "texts": ["it"]}],
        "max_new_tokens": 6,
        "forgetting": "none",
        "consistency": "none",
        "knowledge": "none",
        "num_fewshot": 2,
        "timed_rows": 0,
        "baseline_prompt": INSTRUCTION,
    }
    train = {"steps": 8, "rows_per_step": 3, "save_steps": 2, "lr": 0.01, "retention": "none"}
    evaluate |= changes.pop("evaluate", {})
    return config(folder, **{"evaluate": evaluate, "train": train, **changes})


@pytest.fixture
def asked(monkeypatch):
    """How many prompts each call of the generation answers, by adapter."""
    calls = []
    generate = answering.generate

    def counted(engine, prompts, **options):
        calls.append([prompt.adapter for prompt in prompts])
        return generate(engine, prompts, **options)

    monkeypatch.setattr(answering, "generate", counted)
    return calls


ARMS = ["base", "prompted", "examples", "tuned"]


@pytest.mark.parametrize("kind", ["lora", "p-tuning", "full"])
def test_four_arms_are_answered_and_told_with_their_tokens(tmp_path, asked, kind):
    summary = train_run(made(tmp_path, method={"kind": kind}))
    document = summary.evaluation
    assert list(document["arms"]) == ARMS
    assert all(document[name] is None for name in ("consistency", "knowledge", "forgetting"))
    assert document["overfitting"]["text"]
    assert (document["capacity"] is not None) == (kind == "lora")
    rows = document["rows"]
    per_call = [3 * rows, rows] if kind == "full" else [4 * rows]
    assert [len(call) for call in asked if call] == per_call  # all that can be in one stream
    tokens = {name: arm["prompt_tokens"] for name, arm in document["arms"].items()}
    assert tokens["base"] == tokens["tuned"] < tokens["examples"]
    assert tokens["base"] < tokens["prompted"]
    virtual = [arm["virtual_tokens"] for arm in document["arms"].values()]
    assert virtual[:3] == [0, 0, 0]
    assert (virtual[3] > 0) == (kind == "p-tuning")
    assert all(0 <= arm["completion_tokens"] <= 6 for arm in document["arms"].values())
    assert document["verdict"]["against"] in ARMS[:3]
    assert set(document["differences"]["exact"]) == set(ARMS[:3])
    lines = [json.loads(x) for x in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == rows
    for line in lines:
        assert list(line["answers"]) == list(line["scores"]) == list(line["failed"]) == ARMS
        for arm in ARMS:
            failed = {name for name, score in line["scores"][arm].items() if score == 0}
            assert set(line["failed"][arm]) == failed
        assert line["file"].endswith("rows.jsonl")
    for name in ("exact", "contains"):
        for arm in ARMS:
            recount = sum(line["scores"][arm][name] for line in lines) / rows
            assert document["arms"][arm]["checks"][name]["score"] == pytest.approx(recount)


def test_arms_that_ask_the_same_share_their_answers(tmp_path):
    base = base_folder(tmp_path / "base")
    template = base / "chat_template.jinja"
    inserted = (
        f"{{% if messages[0].role != 'system' %}}{{{{ 's\\n{INSTRUCTION}\\n' }}}}{{% endif %}}"
    )
    given = (
        "{% if messages[0].role == 'system' %}{{ 's\\n' + messages[0].content + '\\n' }}{% endif %}"
    )
    rest = template.read_text().replace("in messages %}", "in messages if m.role != 'system' %}")
    template.write_text(inserted + given + rest)
    rows_file(tmp_path / "rows.jsonl")
    document = train_run(made(tmp_path, evaluate={"num_fewshot": 0})).evaluation
    base_arm, prompted = (document["arms"][name] for name in ("base", "prompted"))
    assert base_arm["prompt_tokens"] == prompted["prompt_tokens"]
    assert base_arm["checks"] == prompted["checks"]


def test_no_example_is_a_held_out_row(tmp_path):
    document = train_run(made(tmp_path)).evaluation
    lines = (tmp_path / "run" / "answers.jsonl").read_text().splitlines()
    held = {json.loads(line)["question"] for line in lines}
    examples = document["prompts"]["examples"]
    assert len(examples) == 2
    assert not held & {content for each in examples for _, content in each["messages"]}


def test_what_every_prompt_of_an_arm_begins_with_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BEGIN_TOKENS", 8)
    begun = []
    begin = Decoder.begin
    monkeypatch.setattr(
        Decoder,
        "begin",
        lambda d, ids, group: begun.append((group, len(ids))) or begin(d, ids, group),
    )
    train_run(made(tmp_path))
    tokens = dict(begun)
    assert tokens[None, "prompted"] > 12
    assert tokens[None, "examples"] > 12
    assert len(begun) == len(tokens)


def test_a_comparison_answers_the_base_once(tmp_path, asked):
    base = made(tmp_path)
    variants = [
        Variant(f"rank {rank}", base.model_copy(update={"method": method}))
        for rank in (1, 2)
        for method in [base.method.model_copy(update={"rank": rank})]
    ]
    comparison = compare_runs(variants, tmp_path / "all")
    rows = comparison.rows[0].summary.evaluation["rows"]
    assert list(map(len, asked)) == [4 * rows, rows]
    assert set(asked[1]) == {"rank 2"}
    first, second = (each.summary.evaluation["arms"] for each in comparison.rows)
    assert all(first[name]["checks"] == second[name]["checks"] for name in ARMS[:3])


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_an_evaluation_that_was_stopped_goes_on_from_what_is_answered(tmp_path, asked, kind):
    whole = train_run(made(tmp_path / "whole", method={"kind": kind}))
    made_there, seen = sum(map(len, asked)), []

    def emit(event):
        if isinstance(event, Phase) and event.phase.startswith("answering"):
            seen.append(event.done)

    (tmp_path / "cache").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunesmith.evaluation.score_cache.cache_root", lambda: tmp_path / "cache")
        run = made(tmp_path / "whole", method={"kind": kind}, out=str(tmp_path / "run"))
        patch.setattr("tunesmith.core.progress.SECONDS_BETWEEN_REPORTS", 0.0)
        progress = Progress(emit, cancelled=lambda: bool(seen and seen[-1] >= 7))
        if kind == "full":  # the base is asked before the first step
            with pytest.raises(Cancelled):
                train_run(run, progress=progress)
        else:
            assert train_run(run, progress=progress).reason == "stopped"
        assert seen[-1] == 7
        asked.clear()
        again = resume_run(tmp_path / "run", progress=Progress(emit))
    assert again.evaluation["arms"] == whole.evaluation["arms"]
    assert sum(map(len, asked)) == made_there - 7


def test_an_arm_that_is_left_out_is_told_before_training_and_stands_in_the_document(tmp_path):
    events = []
    run = made(tmp_path, evaluate={"baseline_prompt": "so it is " * 60})
    document = train_run(run, progress=Progress(events.append)).evaluation
    assert list(document["arms"]) == ["base", "examples", "tuned"]
    assert "do not fit" in document["left_out"]["prompted"]
    first = next(i for i, event in enumerate(events) if isinstance(event, Planned))
    told = [event.message for event in events[:first] if isinstance(event, Notice)]
    assert [text for text in told if text.startswith("arm prompted left out: ")]


def test_rows_without_room_for_an_answer_are_not_asked_and_told(tmp_path):
    long = [("user", "say 1"), ("assistant", "it is"), ("user", "so " * 260), ("assistant", "no")]
    chats = [[("user", f"say {i}"), ("assistant", f"it is {i}")] for i in range(5)] + [long]
    rows = [{"messages": [{"role": r, "content": text} for r, text in chat]} for chat in chats]
    made(tmp_path)
    (tmp_path / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "train": str(tmp_path / "rows.jsonl"),
        "eval": str(tmp_path / "held.jsonl"),
        "overflow": "truncate",
    }
    events = []
    document = train_run(made(tmp_path, data=data), progress=Progress(events.append)).evaluation
    assert document["rows"] == 5
    told = [event.message for event in events if isinstance(event, Notice)]
    assert "1 held-out row not asked: no room for an answer" in told
