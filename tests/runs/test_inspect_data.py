""""""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.config import load_run_config
from tunesmith.core.errors import DataError, ModelError
from tunesmith.data.faults import FaultyData, Note
from tunesmith.models.load import load_base
from tunesmith.runs.inspect_data import inspect_data, open_tokenizer
from tunesmith.runs.inspection import BARS, length_statistics
from tunesmith.runs.rows import load_rows


@given(lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_row_is_in_one_bar(lengths):
    told = length_statistics(np.array(lengths))
    assert sum(told.counts) == len(lengths)
    assert len(told.edges) == len(told.counts) + 1 <= BARS + 1
    assert told.edges[0] <= min(lengths)
    assert told.edges[-1] > max(lengths)
    assert list(told.edges) == sorted(set(told.edges))
    bars = zip(told.edges, told.edges[1:], told.counts, strict=False)
    assert all(sum(low <= n < high for n in lengths) == count for low, high, count in bars)


def test_quantiles_are_lengths_of_rows():
    told = length_statistics(np.arange(1, 101))
    assert told.quantiles == {5: 5, 25: 25, 50: 50, 75: 75, 95: 95, 99: 99}
    assert told.to_json()["quantiles"]["p95"] == 95


def test_a_long_tail_does_not_flatten_the_other_bars():
    told = length_statistics(np.array([*range(50, 100), 100_000]))
    assert sum(count > 0 for count in told.counts) > 4


def test_no_rows_have_no_lengths():
    assert length_statistics(np.zeros(0, dtype=np.int64)) is None


@pytest.mark.parametrize("lengths", [[7], [7, 7, 7], [1, 2]])
def test_few_different_lengths_work(lengths):
    assert sum(length_statistics(np.array(lengths)).counts) == len(lengths)


@pytest.fixture
def config(base_folder, tmp_path):
    def made(*rows, **data):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        values = {"model": str(base_folder), "data": {"train": str(path), **data}}
        return load_run_config(None, values)

    return made


def row(i, answer="hello"):
    return {"prompt": f"q{i}", "completion": answer}


def codes(inspection):
    return [fault.code for fault in inspection.faults.listed]


def run_rows(config, base_folder):
    loaded = open_tokenizer(str(base_folder))
    return load_rows(config.data, loaded.tokenizer, context=loaded.context, seed=0)


def refused(config, base_folder):
    """The faults for which a run would refuse the data."""
    try:
        run_rows(config, base_folder)
    except FaultyData as error:
        return error.faults
    return []


TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {}}}


def chat(**more):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    return {"messages": turns, **more}


LONG = row(9, "x" * 600)


@pytest.mark.parametrize(
    ("rows", "data"),
    [
        ([row(1), row(2)], {}),
        ([row(1)], {}),
        ([row(1)], {"eval": 0}),
        ([row(1), row(2), {"prompt": "x"}], {}),
        ([row(1), row(2), LONG], {}),
        ([row(1), row(2), LONG], {"overflow": "drop", "eval": 0}),
        ([row(1), row(2)], {"max_tokens": 5}),
        ([row(1), row(2)], {"max_tokens": 5, "overflow": "drop"}),
        ([row(1), row(2, "<|im_end|> sneaked in")], {}),
        ([row(1), row(2, "<|im_end|> sneaked in")], {"control_tokens": "text"}),
        ([row(1), row(2)], {"document": "answer"}),
        ([row(1), chat(tools=[TOOL])], {"format": "chat"}),
        ([], {}),
    ],
)
def test_there_is_a_fault_exactly_where_a_run_would_refuse(rows, data, config, base_folder):
    settings = config(*rows, **data)
    (inspection,) = inspect_data(settings)
    assert refused(settings, base_folder) == list(inspection.faults.listed)


def test_tokens_are_those_that_a_run_reads(config, base_folder):
    settings = config(row(1), row(2), row(3), eval=0)
    (inspection,) = inspect_data(settings)
    rows = run_rows(settings, base_folder).train
    assert inspection.tokens == rows.tokens
    assert inspection.supervised_tokens == rows.supervised_tokens
    assert inspection.longest == rows.longest


def test_sound_rows_are_measured_beside_faulty_ones(config):
    (sound,) = inspect_data(config(row(1), row(2)))
    (mixed,) = inspect_data(config(row(1), row(2), {"prompt": "x"}, row(3, "<|im_end|>")))
    assert (mixed.rows, mixed.tokens) == (4, sound.tokens)
    assert codes(mixed) == ["missing_column", "control_tokens"]


def test_what_is_cut_is_a_warning_with_its_lines(config):
    (inspection,) = inspect_data(config(row(1), LONG, row(3), overflow="truncate"))
    warning = next(each for each in inspection.warnings if each.code != "few_rows")
    assert (warning.code, warning.count, warning.lines) == ("cut", 1, (2,))
    assert inspection.longest == 400


@pytest.mark.parametrize("faulty", [0, 1])
@pytest.mark.parametrize(
    "data", [{"drop": ["duplicates"]}, {"overflow": "drop"}, {"drop": ["duplicates", "too_long"]}]
)
def test_all_sizes_are_of_the_rows_that_are_left(data, faulty, config):
    plain = [row(1), row(2), row(3)]
    left = [*plain, *([LONG] if "duplicates" in data.get("drop", ()) else [row(1)])]
    left = plain if len(data.get("drop", ())) == 2 else left
    bad = [{"prompt": "x"}] * faulty
    (alone,) = inspect_data(config(*left, *bad, max_tokens=None))
    (inspection,) = inspect_data(config(*plain, row(1), LONG, *bad, **data))
    assert (inspection.rows, inspection.left_out) == (len(left) + faulty, 5 - len(left))
    assert inspection.tokens == alone.tokens
    assert sum(inspection.lengths.counts) == len(left)


def test_the_tokenizer_is_that_of_the_loaded_base_without_its_weights(base_folder, tmp_path):
    base = load_base(str(base_folder))
    loaded = open_tokenizer(str(base_folder))
    text = "hello 42"
    assert loaded.tokenizer.encode(text) == base.tokenizer.encode(text)
    assert loaded.tokenizer.chat_template == base.tokenizer.chat_template
    assert loaded.context == base.context


def test_a_model_that_is_not_there_is_refused(tmp_path, home):
    with pytest.raises(ModelError, match="not a folder"):
        open_tokenizer(str(tmp_path / "none"))


def test_empty_rows_are_faults_or_dropped_and_counted(config, base_folder):
    rows = [row(1), row(2), row(3, ""), row(4), {"prompt": "q5", "completion": None}]
    (inspection,) = inspect_data(config(*rows))
    assert codes(inspection) == ["empty", "empty"]
    settings = config(*rows, drop=["empty"])
    (inspection,) = inspect_data(settings)
    assert (codes(inspection), inspection.rows, inspection.left_out) == ([], 3, 2)
    assert [(n.count, n.lines) for n in inspection.warnings if n.code == "dropped"] == [(2, (3, 5))]
    assert (
        len(run_rows(settings, base_folder).train) + len(run_rows(settings, base_folder).held) == 3
    )
    (inspection,) = inspect_data(config(row(1, " "), drop=["empty"]))
    assert codes(inspection) == ["no_rows"]
    assert "1 row without text, and no others" in inspection.faults.listed[0].message


def test_invisible_characters_are_reported_with_their_lines(config):
    (inspection,) = inspect_data(config(row(1), row(2, "a\u0000b"), row(3, "a\u202eb")))
    found = {n.lines: n.message for n in inspection.warnings if n.code == "invisible_characters"}
    assert list(found) == [(2,), (3,)]
    assert "U+0000 NUL" in found[2,]
    assert "U+202E right-to-left override" in found[3,]


SYSTEM = "You are Momo of the shop."


def test_rows_without_a_system_message_get_the_one_of_the_settings(config, base_folder):
    own = chat()
    own["messages"].insert(0, {"role": "system", "content": "Mine."})
    settings = config(chat(), own, eval=0, system=SYSTEM)
    loaded = open_tokenizer(str(base_folder))
    rows = run_rows(settings, base_folder).train
    first, second = (loaded.tokenizer.decode(rows[i].ids) for i in range(2))
    assert SYSTEM in first
    assert "Mine." in second
    assert SYSTEM not in second
    plain, _ = (run_rows(config(chat(), own, eval=0), base_folder).train[i] for i in range(2))
    assert rows[0].weights.sum() == plain.weights.sum()


def test_held_out_rows_are_asked_under_it(config, base_folder):
    rows = run_rows(config(*map(row, range(9)), eval=0.3, system=SYSTEM), base_folder)
    assert [each.messages[0].content for each in rows.held_conversations] == [SYSTEM] * 3
    assert [each.completion_from for each in rows.held_conversations] == [2] * 3


def test_a_template_that_takes_no_system_message_is_refused_once(config, base_folder, tmp_path):
    from shutil import copytree

    copytree(base_folder, tmp_path / "base")
    template = "{% for m in messages %}{% if m.role != 'system' %}{{ m.role }}: {{ m.content }}"
    template += "{{ eos_token }}{% endif %}{% endfor %}"
    (tmp_path / "base" / "chat_template.jinja").write_text(template)
    settings = config(row(1), row(2), system=SYSTEM)
    settings = settings.model_copy(update={"model": str(tmp_path / "base")})
    with pytest.raises(DataError, match=r"leaves out the system message, so data\.system"):
        inspect_data(settings)


def test_texts_have_no_system_message(config):
    (inspection,) = inspect_data(config({"text": "one two"}, {"text": "three"}, system=SYSTEM))
    assert "data.system has no effect" in " ".join(n.message for n in inspection.warnings)


def test_texts_are_not_asked_so_few_of_them_are_held_out(config):
    texts = [{"text": f"one two {i}"} for i in range(12)]
    (inspection,) = inspect_data(config(*texts, eval=0.2))
    assert "few_held_out" not in {note.code for note in inspection.warnings}
    (inspection,) = inspect_data(config(*map(row, range(12)), eval=0.2))
    few = {note.code: note.count for note in inspection.warnings}
    assert (few["few_held_out"], few["few_steps"], few["few_rows"]) == (2, 10, 10)


def test_what_is_noted_of_the_language_is_among_the_warnings(config, monkeypatch):
    seen = []

    def notes(rows, model, tokenizer, *, device):
        seen.extend(row.messages[-1].content for row in rows)
        return (Note("language_fit", f"{model} {device}"),)

    monkeypatch.setattr("tunesmith.runs.inspect_data.language_notes", notes)
    (told,) = inspect_data(config(*[{"prompt": "q", "completion": f"a{i}"} for i in range(5)]))
    assert told.warnings[0].code == "language_fit"
    assert seen == [f"a{i}" for i in range(5)]
