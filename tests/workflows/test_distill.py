"""From an instruction to rows: what they hold, what is kept, and going on after a stop."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflows.tiny import LETTERS, TEMPLATE, talking_base
from tunesmith.config import load_run_config
from tunesmith.config.distill import DistillSettings
from tunesmith.data.read import read_conversations
from tunesmith.data.rows import Message
from tunesmith.errors import ConfigError, DataError
from tunesmith.generate.loop import Answer
from tunesmith.train.events import Notice, Progress
from tunesmith.workflows import distill_draws, teacher
from tunesmith.workflows.distill import distill
from tunesmith.workflows.distill_draws import draws_left
from tunesmith.workflows.distill_state import Draws, State
from tunesmith.workflows.teacher import Teacher, instructed

INSTRUCTION = "Speak as a bee would, and keep it short."
HAS_F = {"kind": "regex", "name": "has_f", "pattern": "f"}
HAS_Z = {"kind": "regex", "name": "has_z", "pattern": "z"}
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
QUESTIONS = [f"say {word}" for word in WORDS]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return talking_base(tmp_path_factory.mktemp("talking"))


@pytest.fixture
def ask(base, tmp_path):
    """Distils the questions; keywords are settings, or values of the run's config."""

    def asked(*, inputs=QUESTIONS, instruction=INSTRUCTION, out="rows.jsonl", **changes):
        prompt, questions = tmp_path / "prompt.txt", tmp_path / "inputs.jsonl"
        prompt.write_text(instruction)
        rows = [{"prompt": each} if isinstance(each, str) else each for each in inputs]
        questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = {name: changes.pop(name) for name in ("stop", "resume") if name in changes}
        emit = changes.pop("emit", lambda event: None)
        config = load_run_config(
            None,
            {
                "model": str(changes.pop("model", base)),
                "dtype": "float32",
                "data": {"train": "unused"},
                "train": {"seed": changes.pop("seed", 0)},
                "evaluate": {
                    "checks": changes.pop("checks", []),
                    "max_new_tokens": changes.pop("max_new_tokens", 12),
                },
            },
        )
        paths = {"prompt": prompt, "inputs": questions, "out": tmp_path / out}
        paths |= {name: changes.pop(f"{name}_path", path) for name, path in paths.items()}
        named = {name: str(path) for name, path in paths.items()}
        settings = DistillSettings.model_validate({"temperature": 1.0, **named, **changes})
        return distill(config, settings, emit=emit, **options)

    return asked


def rows_of(done):
    return [json.loads(line)["messages"] for line in Path(done.out).read_text().splitlines()]


def answers_of(done):
    return {messages[0]["content"]: messages[-1]["content"] for messages in rows_of(done)}


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


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("rows.*")}


@pytest.mark.parametrize("waves", [1, 3, 6])
def test_going_on_after_a_stop_gives_the_files_of_an_unbroken_call(
    ask, tmp_path, monkeypatch, waves
):
    monkeypatch.setattr(distill_draws, "SLOTS", 3)
    asked = {"checks": [HAS_F], "samples": 3, "keep": 2}
    ask(**asked)
    unbroken = files_of(tmp_path)
    for name in unbroken:
        (tmp_path / name).unlink()
    count = itertools.count()
    stopped = ask(**asked, stop=lambda: next(count) == waves)
    assert stopped.stopped
    assert files_of(tmp_path).keys() == unbroken.keys()
    assert files_of(tmp_path) != unbroken
    done = ask(**asked, resume=True)
    assert not done.stopped
    assert files_of(tmp_path) == unbroken


def test_going_on_answers_the_same_inputs_together_as_an_unbroken_call(ask, monkeypatch):
    monkeypatch.setattr(distill_draws, "SLOTS", 3)
    answers, waves = Teacher.answers, []

    def noted(teacher, numbers, sample):
        waves.append((tuple(numbers), sample))
        return answers(teacher, numbers, sample)

    monkeypatch.setattr(Teacher, "answers", noted)
    asked = {
        "checks": [HAS_F],
        "samples": 3,
        "inputs": [q[: 5 + i % 4] for i, q in enumerate(QUESTIONS)],
    }
    ask(**asked, out="unbroken.jsonl")
    unbroken = waves.copy()
    assert len(unbroken) > 6
    waves.clear()
    ask(**asked, stop=lambda: len(waves) == 1)
    for stop_at in range(2, len(unbroken)):
        ask(**asked, resume=True, stop=lambda: len(waves) == stop_at)  # noqa: B023
    ask(**asked, resume=True)
    assert waves == unbroken


def test_a_call_that_is_killed_in_a_wave_keeps_the_waves_before(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(distill_draws, "SLOTS", 3)
    ask()
    unbroken = files_of(tmp_path)
    for name in unbroken:
        (tmp_path / name).unlink()
    told = itertools.count()

    def interrupt(event):
        if isinstance(event, Progress) and event.seconds_left is not None and next(told) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(emit=interrupt)
    state = json.loads((tmp_path / "rows.distill.json").read_text())
    assert [draws["count"] for draws in state["inputs"]].count(1) == 6
    ask(resume=True)
    assert files_of(tmp_path) == unbroken


def test_going_on_with_what_is_complete_changes_nothing_and_loads_nothing(
    ask, tmp_path, monkeypatch
):
    first = ask(samples=9, max_new_tokens=100)
    before = files_of(tmp_path)
    monkeypatch.delattr("tunesmith.workflows.distill.open_base")
    done = ask(samples=9, max_new_tokens=100, resume=True)
    assert files_of(tmp_path) == before
    assert replace(done, seconds=first.seconds) == first


def test_more_samples_are_drawn_for_those_that_failed(ask):
    few = ask(checks=[HAS_F], samples=1, temperature=0.9)
    more = ask(checks=[HAS_F], samples=8, temperature=0.9, resume=True)
    assert few.failed
    assert len(more.failed) < len(few.failed)
    assert answers_of(few).items() <= answers_of(more).items()


def test_a_stop_before_the_first_answer_leaves_nothing(ask, tmp_path):
    assert ask(stop=lambda: True).left == len(QUESTIONS)
    assert files_of(tmp_path) == {}


def test_time_left_is_told_once_there_is_an_answer(ask):
    events = []
    ask(emit=events.append, max_new_tokens=100)
    told = [e for e in events if isinstance(e, Progress) and e.total]
    assert [e.seconds_left is None for e in told[:2]] == [True, False]
    assert all(e.seconds_left >= 0 for e in told[1:])
    assert (told[0].done, told[0].total) == (0, len(QUESTIONS))


def test_draws_left_are_those_of_the_inputs_that_lack_an_answer(tmp_path):
    asked = DistillSettings(prompt="p", inputs="i", out="o", samples=4, keep=1)

    def left(*draws):
        return draws_left(State(tmp_path, [], {}, list(draws)), asked)

    assert left(Draws(), Draws()) == 2
    assert left(Draws(1, ["x"]), Draws(4, [], {"cut": 4})) == 0
    # Two of six passed: an input needs about two more draws, but has only one.
    assert left(Draws(1, ["x"]), Draws(2, ["y"]), Draws(3)) == 1


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
            yield Answer(row, ids, ended)

    monkeypatch.setattr(teacher, "generate", generate)


@pytest.fixture
def encode(base):
    from tunesmith.models.load import read_tokenizer

    tokenizer = read_tokenizer(base, trust_remote_code=False)
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


def test_where_nothing_passes_nothing_is_left_and_another_try_is_not_refused(ask, tmp_path):
    for _ in range(2):
        with pytest.raises(DataError, match="has_z"):
            ask(checks=[HAS_Z], samples=2)
        assert files_of(tmp_path) == {}


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


def test_a_check_that_needs_an_answer_refuses_inputs_without_one(ask):
    inputs = [{"prompt": "a", "completion": "b"}, {"prompt": "c"}]
    with pytest.raises(DataError, match=r"inputs\.jsonl:2: check `exact`: there is no reference"):
        ask(inputs=inputs, checks=[{"kind": "exact"}])


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


def test_inputs_that_leave_no_room_are_all_named(ask):
    inputs = ["short", "x" * 190, "y" * 195]
    with pytest.raises(DataError, match=r"context of 256") as refused:
        ask(inputs=inputs)
    assert re.findall(r"inputs\.jsonl:(\d)", str(refused.value)) == ["2", "3"]
    with pytest.raises(DataError, match="context"):
        ask(max_new_tokens=250)


@pytest.mark.parametrize("out", ["rows.txt", "rows"])
def test_an_out_that_training_would_not_read_is_refused(ask, out):
    with pytest.raises(DataError, match=r"Name a file that ends in \.jsonl"):
        ask(out=out)


def test_an_out_that_is_there_is_not_overwritten(ask, tmp_path):
    (tmp_path / "rows.jsonl").write_text("mine\n")
    with pytest.raises(DataError, match=r"rows\.jsonl: exists already") as refused:
        ask()
    assert "--resume" not in refused.value.remedy
    assert (tmp_path / "rows.jsonl").read_text() == "mine\n"
    with pytest.raises(DataError, match="nothing to go on with"):
        ask(resume=True)


def test_an_unfinished_call_is_not_begun_anew(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(distill_draws, "SLOTS", 3)
    count = itertools.count()
    ask(stop=lambda: next(count) == 1)
    (tmp_path / "rows.jsonl").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"rows\.distill\.json: exists already") as refused:
        ask()
    assert "--resume" in refused.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"instruction": "Speak."},
        {"inputs": QUESTIONS[1:]},
        {"temperature": 0.8},
        {"keep": 2},
        {"seed": 3},
        {"max_new_tokens": 13},
        {"checks": [HAS_F]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_going_on_with_other_settings_is_refused(ask, tmp_path, changes):
    ask()
    before = files_of(tmp_path)
    name = next(iter(changes)).replace("instruction", "prompt")
    with pytest.raises(DataError, match=f"other settings: {name} "):
        ask(**changes, resume=True)
    assert files_of(tmp_path) == before


def test_rows_that_were_changed_by_hand_are_not_written_over(ask, tmp_path):
    done = ask()
    text = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(text.replace("say one", "say 1", 1))
    with pytest.raises(DataError, match="1 of its rows were changed"):
        ask(resume=True)
    assert done.rows


def test_a_state_that_is_damaged_is_refused(ask, tmp_path):
    ask()
    (tmp_path / "rows.distill.json").write_text("{")
    with pytest.raises(DataError, match="cannot be gone on with"):
        ask(resume=True)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_instruction_without_text_is_refused(ask, text):
    with pytest.raises(DataError, match=r"prompt\.txt: holds no instruction"):
        ask(instruction=text)


def test_files_that_are_missing_are_named(ask, tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read: No such file"):
        ask(prompt_path=tmp_path / "gone.txt")
    with pytest.raises(DataError, match=r"gone\.jsonl: does not exist"):
        ask(inputs_path=tmp_path / "gone.jsonl")


def test_no_inputs_is_a_refusal(ask):
    with pytest.raises(DataError, match=r"inputs\.jsonl: holds no rows"):
        ask(inputs=[])


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
