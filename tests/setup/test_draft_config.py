import json

import pytest
import yaml

from tunesmith.config import load_run_config
from tunesmith.config.run import DataSettings, RunConfig
from tunesmith.config.settings import known_keys
from tunesmith.core.errors import ConfigError
from tunesmith.data.faults import FaultyData
from tunesmith.runs.inspect_data import tokenizer_here
from tunesmith.setup.draft_config import draft_config, write_draft

LABELS = [{"prompt": f"q{i}", "completion": ("yes", "no")[i % 2]} for i in range(12)]


@pytest.fixture
def drafted(tmp_path):
    def draft(rows=LABELS, **settings):
        path = tmp_path / "it's rows: #1.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return draft_config(DataSettings(train=str(path), **settings)), path

    return draft


def loaded(text, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_run_config(path, {})


def test_a_draft_loads_and_says_what_the_defaults_say(drafted, tmp_path):
    draft, data = drafted()
    config = loaded(draft.text, tmp_path)
    plain = load_run_config(None, {"data": {"train": str(data)}})
    assert config.data.train == str(data)
    assert config.data.format == "prompt-completion"
    assert config.evaluate.checks[0].kind == "label"
    same = {"data": plain.data, "evaluate": plain.evaluate}
    assert config.model_copy(update=same) == plain


def test_what_stands_behind_a_hash_is_the_default(drafted, tmp_path):
    draft, _ = drafted()
    uncommented = "\n".join(
        line.replace("# ", "", 1) if ": " in line.split(" # ")[0] and is_key(line) else line
        for line in draft.text.splitlines()
    )
    assert loaded(uncommented, tmp_path) == loaded(draft.text, tmp_path)
    assert len(leaves(yaml.safe_load(uncommented))) > len(leaves(yaml.safe_load(draft.text)))


def is_key(line):
    return line.lstrip().startswith("# ") and line.split()[1].removesuffix(":") in {
        key.rpartition(".")[2] for key in known_keys(RunConfig)
    }


def leaves(values, prefix=""):
    found = []
    for key, value in values.items():
        nested = isinstance(value, dict) and value
        found += leaves(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}"]
    return found


def test_every_key_of_a_lora_run_is_in_the_draft_with_its_description(drafted):
    draft, _ = drafted()
    for model in (
        RunConfig.model_fields["data"].annotation,
        RunConfig.model_fields["train"].annotation,
    ):
        for name, field in model.model_fields.items():
            assert any(
                f"{name}: " in line and line.endswith(f"# {field.description}")
                for line in draft.text.splitlines()
            )


def test_a_check_stands_under_its_reason(drafted):
    draft, _ = drafted()
    lines = draft.text.splitlines()
    at = next(i for i, line in enumerate(lines) if "kind: label" in line)
    reason = "# the answers are 2 different texts in 12 rows; 100 % of 12 answers pass"
    assert lines[at - 1].strip() == reason


def test_without_a_proposal_the_kinds_are_named(drafted, tmp_path):
    draft, _ = drafted([{"prompt": f"q{i}", "completion": f"{i} is it"[::-1]} for i in range(5)])
    assert "Kinds: exact, label" in draft.text
    assert loaded(draft.text, tmp_path).evaluate.checks == ()


def test_mapped_columns_and_limits_that_were_given_stay(drafted, tmp_path):
    rows = [{"q": row["prompt"], "a": row["completion"]} for row in LABELS]
    draft, _ = drafted(rows, map={"prompt": "q", "completion": "a"}, overflow="truncate")
    data = loaded(draft.text, tmp_path).data
    assert (data.map, data.overflow) == ({"prompt": "q", "completion": "a"}, "truncate")


def test_faulty_rows_are_told_and_sound_ones_make_the_draft(drafted):
    draft, _ = drafted([*LABELS, {"prompt": "x"}])
    assert draft.rows == 13
    assert [fault.code for fault in draft.faults] == ["missing_column"]


def test_a_file_without_a_sound_row_is_refused(drafted):
    with pytest.raises(FaultyData, match="completion"):
        drafted([{"prompt": "x"}] * 3)


def test_a_file_that_is_there_stays_as_it_is(drafted, tmp_path):
    draft, _ = drafted()
    out = tmp_path / "mine.yaml"
    write_draft(draft, out)
    assert out.read_text() == draft.text
    out.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        write_draft(draft, out)
    assert out.read_text() == "mine"


POLITE = [
    {"prompt": f"q{i}", "completion": f"{i}번 기차는 {i * 3}분 뒤에 {('와요', '떠나요')[i % 2]}!"}
    for i in range(12)
]
POLITE += [
    {"prompt": f"who {i}", "completion": text}
    for i, text in enumerate(["저는 모모예요.", "안녕하세요, 모모예요!"])
]


def test_a_proposed_system_prompt_is_a_comment_that_can_be_taken(drafted, tmp_path):
    draft, _ = drafted(POLITE)
    assert draft.system == "당신은 모모입니다. 해요체로 답하세요."
    assert loaded(draft.text, tmp_path).data.system is None
    taken = draft.text.replace("# system: 당신은", "system: 당신은")
    assert taken != draft.text
    assert loaded(taken, tmp_path).data.system == draft.system


def test_a_system_prompt_of_the_users_own_is_set(drafted, tmp_path):
    draft, _ = drafted(POLITE, system="당신은 모모입니다: 토끼예요.")
    assert loaded(draft.text, tmp_path).data.system == "당신은 모모입니다: 토끼예요."
    assert draft.system is None


def test_empty_rows_that_are_dropped_are_counted_and_stay_dropped(drafted, tmp_path):
    draft, _ = drafted([*LABELS, {"prompt": "q", "completion": ""}], drop=["empty"])
    assert draft.faults == ()
    assert "rows left out by --data.drop empty (1 row)" in draft.notes
    assert loaded(draft.text, tmp_path).data.drop == ("empty",)


def test_few_rows_steps_and_held_out_rows_are_noted(drafted, base_folder):
    draft, _ = drafted(POLITE)
    assert [note.partition(":")[0] for note in draft.notes] == [
        *("few rows for lora", "few held-out rows"),
    ]
    tokenizer = tokenizer_here(str(base_folder))
    assert tokenizer_here(str(base_folder / "no")) is None
    with_steps = draft_config(
        DataSettings(train=drafted(POLITE)[1].as_posix()), tokenizer=tokenizer
    )
    kinds = [note.partition(":")[0].split(" (")[0] for note in with_steps.notes]
    assert kinds == ["few rows for lora", "few steps", "few held-out rows"]


def test_what_the_bases_template_leaves_out_is_a_fault_and_calls_suggest_their_check(
    drafted, base_folder, tmp_path
):
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    asked = {"role": "user", "content": "Rain?"}
    rows = [{"messages": [asked, {"role": "assistant", "tool_calls": [call]}]}] * 3
    draft, path = drafted(rows)
    assert draft.faults == ()
    tokenizer = tokenizer_here(str(base_folder))
    with_base = draft_config(DataSettings(train=str(path)), tokenizer=tokenizer)
    assert [(each.code, each.line) for each in with_base.faults] == [
        ("tool_calls_ignored", line) for line in (1, 2, 3)
    ]
    for each in (draft, with_base):
        (check,) = loaded(each.text, tmp_path).evaluate.checks
        assert check.kind == "tool_call"


def test_rows_in_a_language_that_the_base_is_not_for_are_noted_beside_it(drafted, tmp_path):
    rows = [
        {"prompt": f"{i}번 주문은 언제 오나요?", "completion": f"{i}일 안에 도착할 예정이에요."}
        for i in range(12)
    ]
    draft, _ = drafted(rows)
    lines = draft.text.splitlines()
    (model,) = [i for i, line in enumerate(lines) if line.startswith("model:")]
    comment = " ".join(line.removeprefix("# ") for line in lines[model - 8 : model])
    assert "Korean" in comment
    assert "qwen3-0.6b" in comment
    assert draft.unread
    assert loaded(draft.text, tmp_path).model == RunConfig.model_fields["model"].default


def test_rows_that_the_base_is_for_are_not_noted(drafted):
    draft, _ = drafted()
    assert draft.unread == ""
