"""From an instruction to rows: what they hold, and which answers are kept."""

import json
from pathlib import Path

import pytest

from tests.data.reading import read_conversations
from tests.distillation.distilling import HAS_F, HAS_Z, INSTRUCTION, QUESTIONS, answers_of, rows_of
from tests.runs.tiny import LETTERS, TEMPLATE, talking_base
from tunesmith.config.distill import DistillSettings
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.progress import Notice
from tunesmith.data.chat_format import instructed
from tunesmith.data.rows import Message
from tunesmith.distillation import teacher
from tunesmith.generation.loop import GeneratedAnswer
from tunesmith.models.load import read_tokenizer


def test_rows_are_questions_and_answers_and_hold_nothing_of_the_instruction(ask, tmp_path):
    done = ask()
    rows = rows_of(done)
    assert len(rows) == done.rows >= 8
    assert [[message["role"] for message in row] for row in rows] == [["user", "assistant"]] * len(
        rows
    )
    assert set(answers_of(done)) <= set(QUESTIONS)
    assert all(set(answer) <= set(LETTERS) and answer for answer in answers_of(done).values())
    assert "bee" not in (tmp_path / "rows.jsonl").read_text()
    assert len(read_conversations(done.out)) == done.rows


def test_the_base_answers_under_the_instruction(ask):
    one = ask()
    other = ask(out="other.jsonl", instruction="Speak as an ant would, and keep it short.")
    assert answers_of(one) != answers_of(other)
    assert one.instruction_tokens > len(INSTRUCTION) / 2  # nearly a token for each letter


def test_only_answers_that_pass_become_rows_and_every_other_input_is_named(ask):
    free = ask(out="free.jsonl")
    assert not all("f" in answer for answer in answers_of(free).values())
    done = ask(checks=[HAS_F], samples=2)
    assert all("f" in answer for answer in answers_of(done).values())
    failed = {each.question: each for each in done.failed}
    assert 0 < len(failed) < len(QUESTIONS)
    assert failed.keys() | set(answers_of(done)) == set(QUESTIONS)
    assert not failed.keys() & set(answers_of(done))
    for each in failed.values():
        assert sum(each.faults.values()) == 2
        assert QUESTIONS[each.line - 1] == each.question


def test_no_more_is_drawn_than_is_needed(ask):
    done = ask(samples=9, max_new_tokens=100)
    assert done.rows == len(QUESTIONS)
    assert done.draws < 2 * len(QUESTIONS)


def test_several_are_kept_where_they_differ(ask):
    done = ask(samples=6, keep=3)
    by_question = {}
    for messages in rows_of(done):
        by_question.setdefault(messages[0]["content"], []).append(messages[-1]["content"])
    assert max(map(len, by_question.values())) == 3
    assert all(len(set(answers)) == len(answers) for answers in by_question.values())
    assert list(by_question) == [q for q in QUESTIONS if q in by_question]


def test_draws_are_the_seeds(ask, tmp_path):
    for out, seed in (("a.jsonl", 1), ("b.jsonl", 1), ("c.jsonl", 2)):
        ask(out=out, seed=seed)
    one, same, other = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "abc")
    assert one == same != other


def test_an_inputs_draws_do_not_depend_on_the_inputs_after_it(ask):
    whole = answers_of(ask())
    few = answers_of(ask(out="few.jsonl", inputs=QUESTIONS[:4]))
    assert few.items() <= whole.items()


PLANNED = {
    "": "empty",
    "   ": "empty",
    "fine<|im_end|>": "control_tokens",
    "fine<|endoftext|>": "control_tokens",
    f"I will. {INSTRUCTION}": "repeats_the_instruction",
    "no letter": "has_f",
    "but half": None,
}


def plan(monkeypatch, tokenizer_of, texts, ended="stop"):
    """Answers with these texts, one for each prompt in turn."""

    def generate(engine, prompts, **_):
        for row, (_, text) in enumerate(zip(prompts, texts, strict=True)):
            ids = text if isinstance(text, tuple) else tuple(tokenizer_of(text))
            yield GeneratedAnswer(row, ids, ended)

    monkeypatch.setattr(teacher, "generate", generate)


@pytest.fixture
def encode(talking):
    tokenizer = read_tokenizer(talking, trust_remote_code=False)
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]


def test_what_training_would_refuse_or_unlearn_is_no_row(ask, encode, monkeypatch):
    half = (*encode("f"), encode("é")[0])
    plan(monkeypatch, encode, [*PLANNED, half])
    inputs = [f"say {i}" for i in range(len(PLANNED) + 1)]
    done = ask(inputs=inputs, checks=[HAS_F], samples=1)
    faults = {each.line: list(each.faults) for each in done.failed}
    wanted = [*PLANNED.values(), "half_a_character"]
    assert faults == {line: [f] for line, f in enumerate(wanted, 1) if f is not None}
    assert [row[-1]["content"] for row in rows_of(done)] == ["but half"]


def test_an_answer_that_was_kept_before_counts_as_the_same(ask, encode, monkeypatch):
    plan(monkeypatch, encode, ["f", "f"])
    done = ask(inputs=QUESTIONS[:2], samples=3, keep=2)
    assert [row[-1]["content"] for row in rows_of(done)] == ["f", "f"]
    state = json.loads(Path(done.state).read_text())
    assert [draws["faults"] for draws in state["inputs"]] == [{"same_answer": 2}] * 2


def test_an_answer_that_was_cut_is_no_row_and_none_at_all_is_a_refusal(ask, encode, monkeypatch):
    plan(monkeypatch, encode, ["f"] * len(QUESTIONS), ended="length")
    with pytest.raises(DataError, match=r"None of 10 answers to 10 inputs passes \(cut 10\)") as e:
        ask(samples=1)
    assert e.value.code == "nothing_passed"
    assert "--max-new-tokens" in e.value.remedy
    assert "'f'" in e.value.message


def test_the_answer_of_a_training_row_is_what_checks_compare_with_and_is_not_asked(ask, tmp_path):
    first = ask(max_new_tokens=100)
    known = [{"messages": messages} for messages in rows_of(first)]
    events = []
    again = ask(
        inputs=known, checks=[{"kind": "exact"}], max_new_tokens=100, out="b.jsonl", samples=1,
        emit=events.append,
    )  # fmt: skip
    assert rows_of(again) == rows_of(first)
    assert "answer_set_aside" in [e.code for e in events if isinstance(e, Notice)]
    prompted = [{"prompt": r["messages"][0]["content"], "completion": "zzz"} for r in known]
    with pytest.raises(DataError, match="exact 10"):
        ask(
            inputs=prompted,
            checks=[{"kind": "exact"}],
            max_new_tokens=100,
            out="c.jsonl",
            samples=1,
        )


def test_a_conversation_keeps_its_own_system_prompt_and_trains_its_last_answer_only(ask):
    talk = [
        {"role": "system", "content": "You are Ann."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "say more"},
    ]
    done = ask(inputs=[{"messages": talk}], samples=9)
    (messages,) = rows_of(done)
    weighed = [{**m, "weight": 0} if m["role"] == "assistant" else m for m in talk]
    assert messages[:-1] == weighed
    (conversation,) = read_conversations(done.out)
    assert conversation.supervised == (4,)


def test_the_instruction_comes_first_and_once():
    user, system = Message("user", "hi"), Message("system", "You are Ann.")
    both = "Be kind.\n\n"
    assert instructed([user], "Be kind.", as_system=True) == (Message("system", "Be kind."), user)
    assert instructed([system, user], "Be kind.", as_system=True) == (
        Message("system", f"{both}You are Ann."),
        user,
    )
    front = Message("user", f"{both}hi")
    assert instructed([user], "Be kind.", as_system=False) == (front,)
    assert instructed([system, user], "Be kind.", as_system=False) == (system, front)


REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
SKIPPING = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}"


@pytest.mark.parametrize("before", [REFUSING, SKIPPING], ids=["refuses", "skips"])
def test_where_the_template_takes_no_system_prompt_the_question_carries_the_instruction(
    ask, tmp_path, before
):
    base = talking_base(tmp_path / "base", before + TEMPLATE)
    events = []
    done = ask(model=base, emit=events.append)
    assert any("takes no system prompt" in e.message for e in events if isinstance(e, Notice))
    assert set(answers_of(done)) <= set(QUESTIONS)
    other = ask(model=base, instruction="Speak as an ant would.", out="other.jsonl")
    assert answers_of(done) != answers_of(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0}, "same answer 4 times"),
        ({"keep": 5}, "keep 5 is more than the 4 samples"),
    ],
)
def test_settings_that_cannot_take_effect_are_refused(changes, message):
    from tunesmith.config.faults import validate

    with pytest.raises(ConfigError, match=message):
        validate(DistillSettings, {"prompt": "p", "inputs": "i", "out": "o", **changes}, source="")


def test_the_likeliest_answer_needs_one_draw(ask):
    with pytest.raises(DataError, match="None of 10 answers"):
        ask(temperature=0, samples=1, checks=[HAS_Z])
