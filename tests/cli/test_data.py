""""""

import json
import shlex

import pytest

from tests.models.tiny import tiny_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny base whose template inserts nothing."""
    folder = tiny_folder(tmp_path_factory.mktemp("base"))
    template = (folder / "chat_template.jinja").read_text()
    opening = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    (folder / "chat_template.jinja").write_text(template + opening)
    return folder


@pytest.fixture
def write(tmp_path):
    def written(*rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
        return path

    return written


def row(i, answer="hello"):
    return {"prompt": f"q{i}", "completion": answer}


def test_sound_data_is_measured_and_ends_in_0(write, model, tunesmith):
    ended = tunesmith("data", "check", write(row(1), row(2)), "--model", model, "--json")
    assert ended.status == 0
    document = ended.document
    assert (document["format"], document["rows"]) == ("prompt-completion", 2)
    assert document["tokens"] > document["supervised_tokens"] > 0
    assert document["faults"] == []


def test_what_a_run_would_refuse_ends_in_1_with_every_fault(write, model, tunesmith):
    data = write(row(1), row(2), '{"prompt": \n', {"prompt": "x"})
    ended = tunesmith("data", "check", data, "--model", model, "--json")
    assert ended.status == 1
    assert [fault["line"] for fault in ended.document["faults"]] == [3, 4]
    assert set(ended.document["faults"][0]) == {"file", "line", "code", "message", "remedy"}
    page = tunesmith("data", "check", data, "--model", model)
    assert f"{data}:3: not valid JSON" in page.out
    assert "2 faults: a run would refuse this data." in page.out


def test_warnings_have_a_count_and_lines(write, model, tunesmith):
    data = write(row(1), "\n", row(2))
    told = tunesmith("data", "check", data, "--model", model, "--json").document["warnings"]
    (warning,) = [each for each in told if each["code"] == "blank_line"]
    assert (warning["count"], warning["lines"]) == (1, [2])


def test_the_held_out_file_is_checked_too(write, model, tunesmith):
    train, held = write(row(1), row(2)), write({"prompt": "x"}, name="held.jsonl")
    words = ("--data.eval", held, "--model", model, "--json")
    ended = tunesmith("data", "check", train, *words)
    assert ended.status == 1
    assert [fault["file"] for fault in ended.document["faults"]] == [str(held)]
    assert ended.document["rows"] == 2
    assert ended.document["eval"]["rows"] == 1


def test_rows_are_shown_as_the_model_sees_them(write, model, tunesmith):
    data = write(row(1), row(2), row(3))
    words = ("data", "show", data, "-n", "2", "--model", model)
    rows = tunesmith(*words, "--json").document["rows"]
    assert [each["line"] for each in rows] == [1, 2]
    first = rows[0]
    assert (
        first["text"] == "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n"
    )
    supervised = [first["text"][a:b] for a, b, trained in first["spans"] if trained]
    assert supervised == ["hello<|im_end|>"]
    assert "⟦hello<|im_end|>⟧" in tunesmith(*words).out


def test_what_is_dropped_for_being_empty_is_not_shown(write, model, tunesmith):
    words = "data", "show", write(row(1, ""), row(2, "first")), "--model", model
    shown = tunesmith(*words, "--data.drop", "empty", "-n", "1")
    assert "first" in shown.out
    assert "fault" not in shown.err
    compared = tunesmith(*words, "--data.drop", "empty,duplicates")
    assert "what data.drop leaves out by comparing rows" in compared.err


def test_what_a_run_would_cut_is_shown(write, model, tunesmith):
    words = ("data", "show", write(row(1)), "--model", model, "--data.max_tokens", "6")
    (first,) = tunesmith(*words, "--json", "--tokens").document["rows"]
    assert first["cut"] == first["token_ends"][5]
    assert len(first["token_ends"]) == first["tokens"]
    assert first["supervised_tokens"] < first["tokens"]
    kept = first["text"][: first["cut"]]
    assert f"{kept}\n✂ cut here: 6 tokens of {first['tokens']}" in tunesmith(*words).out
    assert "│q" in tunesmith(*words, "--tokens").out


def test_rows_are_written_as_a_page(write, model, tunesmith, tmp_path):
    page = tmp_path / "rows.html"
    ended = tunesmith("data", "show", write(row(1)), "--model", model, "--html", page, "--json")
    assert ended.document["html"] == str(page)
    assert "<mark>" in page.read_text(encoding="utf-8")
    data = write(row(1))
    ended = tunesmith("data", "show", data, "--model", model, "--html", data)
    assert ended.status == 2
    assert "q1" in data.read_text()


def test_an_answer_can_be_a_document_of_its_own(write, model, tunesmith):
    turns = [("user", "q"), ("assistant", "a"), ("user", "p"), ("assistant", "b")]
    data = write({"messages": [{"role": role, "content": text} for role, text in turns]})
    words = (data, "--model", model, "--data.document", "answer")
    document = tunesmith("data", "show", *words, "--json").document
    assert [each["line"] for each in document["rows"]] == [1, 1]
    assert "document of its own" in document["notes"][0]
    checked = tunesmith("data", "check", *words, "--data.eval", "0", "--json").document
    counts = {warning["code"]: warning["count"] for warning in checked["warnings"]}
    assert counts["answers_apart"] == 1


def test_a_flag_without_effect_is_refused(write, tunesmith):
    ended = tunesmith("data", "show", write(row(1)), "--data.overflow", "truncate")
    assert ended.status == 2
    assert "--data.overflow" in ended.err


def test_nothing_to_show_is_a_refusal(write, model, tunesmith):
    ended = tunesmith("data", "show", write({"prompt": "x"}), "--model", model)
    assert ended.status == 1
    assert "rows.jsonl:1: the rows have no known format (found: prompt)" in ended.err
    ended = tunesmith("data", "show", "no.jsonl", "--model", model)
    assert "no.jsonl: does not exist." in ended.err


def test_sizes_in_tokens_are_null_where_the_format_is_unknown(write, model, tunesmith):
    ended = tunesmith("data", "check", write({"a": "x", "b": "y"}), "--model", model, "--json")
    document = ended.document
    assert (ended.status, document["format"], document["rows"]) == (1, None, 1)
    sizes = ("tokens", "supervised_tokens", "supervised_share", "longest", "lengths")
    assert {document[name] for name in sizes} == {None}
    assert document["faults"][0]["code"] == "unknown_format"
    page = tunesmith("data", "check", write({"a": "x", "b": "y"}), "--model", model).out
    assert "format unknown, 1 row\n" in page
    assert " tokens (" not in page


def test_sizes_lengths_and_the_training_time_are_told(write, model, tunesmith):
    data = write(*(row(i, "hello " * (1 + i % 5)) for i in range(60)))
    document = tunesmith("data", "check", data, "--model", model, "--json").document
    assert document["supervised_share"] == document["supervised_tokens"] / document["tokens"]
    assert sum(document["lengths"]["histogram"]["rows"]) == 60
    assert document["lengths"]["quantiles"]["p50"] <= document["longest"]
    assert document["training"]["tokens"] == round(0.9 * 10 * document["tokens"])
    page = tunesmith("data", "check", data, "--model", model).out
    assert "half of the rows have up to" in page
    assert "█" in page
    assert "training:" in page


def test_rows_are_left_out_by_name_and_notes_say_their_code(write, model, tunesmith):
    data = write(row(1), row(1), row(2), row(3))
    page = tunesmith("data", "check", data, "--model", model).out
    assert "note: the same row appears earlier (1 row: line 2) [duplicates]" in page
    assert "few rows for lora" in page
    words = ("--data.drop", "duplicates", "--method.kind", "full", "--json")
    told = tunesmith("data", "check", data, "--model", model, *words).document["warnings"]
    counts = {each["code"]: each["count"] for each in told}
    assert (counts["dropped"], counts["few_rows"]) == (1, 2)
    assert "duplicates" not in counts
    assert "full" in next(each["message"] for each in told if each["code"] == "few_rows")


def test_the_headline_is_of_the_rows_that_are_left(write, model, tunesmith):
    data, alone = (
        write(row(1), row(1), row(2), row(3)),
        write(row(1), row(2), row(3), name="a.jsonl"),
    )
    words = ("--data.drop", "duplicates", "--model", model)
    page = tunesmith("data", "check", data, *words).out
    document = tunesmith("data", "check", data, *words, "--json").document
    without = tunesmith("data", "check", alone, "--model", model, "--json").document
    assert document["tokens"] == without["tokens"]
    assert (document["rows"], document["left_out"]) == (3, 1)
    assert f"3 rows (1 of 4 left out), {document['tokens']} tokens" in page


def test_several_files_are_checked_together(write, model, tunesmith):
    one, two = (
        write(row(1), row(2), name="a.jsonl"),
        write("prompt,completion\nq,a\n", name="b.csv"),
    )
    document = tunesmith("data", "check", one, two, "--model", model, "--json").document
    assert (document["rows"], document["format"]) == (3, "prompt-completion")
    assert document["file"] == f"{one}, {two}"
    ended = tunesmith("data", "check", one, write("{", name="c.jsonl"), "--model", model)
    assert f"{one.parent / 'c.jsonl'}:1: not valid JSON" in ended.out
    assert tunesmith("data", "show", one, two, "--model", model).status == 2


def test_what_is_said_of_a_mixed_folder_can_be_done(write, model, tunesmith):
    one, two = (
        write(row(1), row(2), name="a.jsonl"),
        write("prompt,completion\nq,a\n", name="b.csv"),
    )
    said = tunesmith("data", "check", one.parent, "--model", model).out
    _, command, _ = said.split("`")
    words = shlex.split(command)
    assert words == ["tunesmith", "data", "check", str(one), str(two)]
    assert tunesmith(*words[1:], "--model", model).status == 0
    assert f"--data '[{one}, {two}]'" in said


def test_an_unknown_name_to_leave_out_is_an_error(write, model, tunesmith):
    ended = tunesmith("data", "check", write(row(1)), "--model", model, "--data.drop", "copies")
    assert ended.status == 1
    assert "`copies`" in ended.err


def test_faults_of_several_kinds_stand_in_groups(write, model, tunesmith):
    data = write(row(1), {"prompt": "x"}, '{"prompt": \n', {"prompt": "y"})
    page = tunesmith("data", "check", data, "--model", model).out
    assert page.index("missing_column: 2 faults") < page.index("broken_json: 1 fault")


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = ({"prompt": f"question {i} x", "completion": "ab"[i % 2]} for i in range(20))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_file_becomes_two_and_the_next_command_is_told(rows, tmp_path, tunesmith):
    out = tmp_path / "out"
    ended = tunesmith("data", "split", rows, "--out", out, "--stratify", "answer", "--json")
    assert ended.status == 0
    document = ended.document
    assert document["train"] == {"file": str(out / "train.jsonl"), "rows": 18}
    assert document["eval"] == {"file": str(out / "eval.jsonl"), "rows": 2}
    assert document["strata"] == {"a": {"train": 9, "eval": 1}, "b": {"train": 9, "eval": 1}}
    assert document["next"] == [
        f"tunesmith train --data {out / 'train.jsonl'} --data.eval {out / 'eval.jsonl'}"
    ]


def test_a_person_sees_counts_and_classes(rows, tmp_path, tunesmith):
    words = ("--out", tmp_path / "o", "--stratify", "completion", "--share", "0.2")
    page = tunesmith("data", "split", rows, *words).out
    assert "16 rows to train on, 4 held out" in page
    assert "eval.jsonl" in page


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--share", "1"], 2, "share must be"),
        (["--data.map", "x"], 2, "OURS=THEIRS"),
        (["--by", "topic"], 1, '"topic" is missing'),
        (["--data.format", "nonsense"], 1, "nonsense"),
    ],
)
def test_wrong_words_are_told(words, status, told, rows, tmp_path, tunesmith):
    ended = tunesmith("data", "split", rows, "--out", tmp_path / "o", *words)
    assert ended.status == status
    assert told in ended.err
    assert not (tmp_path / "o").exists()


def test_a_missing_file_is_a_refusal(tmp_path, tunesmith):
    ended = tunesmith("data", "split", tmp_path / "no.jsonl", "--out", tmp_path / "o")
    assert ended.status == 1
    assert "does not exist" in ended.err


def test_a_split_reports_what_is_few_and_drops_empty_rows(write, tmp_path, tunesmith):
    data = write(row(1), row(2), row(3, ""), row(4), row(5))
    words = ("data", "split", data, "--share", "0.4", "--by", "row")
    ended = tunesmith(*words, "--out", tmp_path / "a", "--data.drop", "empty", "--json")
    assert ended.document["train"]["rows"] + ended.document["eval"]["rows"] == 4
    counts = {note["code"]: note["count"] for note in ended.document["notes"]}
    assert (counts["dropped"], counts["few_held_out"]) == (1, 2)
    assert {"few_rows"} <= counts.keys()
    refused = tunesmith(*words, "--out", tmp_path / "b", "--data.drop", "duplicates")
    assert refused.status == 2
    assert "drops rows that are empty, and no others" in refused.err
