"""Files as other tools write them, and tables that went wrong: each is read, or asks a question."""

from pathlib import Path

import pytest

from tunesmith.data.read import scan
from tunesmith.data.records import read_records

HERE = Path(__file__).parent
FOREIGN, MESSY = HERE / "foreign_formats", HERE / "messy_tables"

# file: format, rows, sound rows, codes of faults, a word of the first remedy
READ = {
    "ms-swift/alpaca.csv": ("alpaca", 3, 3, ()),
    "ms-swift/alpaca.jsonl": ("alpaca", 3, 3, ()),
    "ms-swift/alpaca2.csv": ("alpaca", 3, 3, ()),
    "ms-swift/chatml.jsonl": ("chat", 3, 3, ()),
    "ms-swift/conversations.jsonl": ("sharegpt", 3, 3, ()),
    "ms-swift/sharegpt.jsonl": ("sharegpt", 3, 3, ()),
    "ms-swift/swift_multi.jsonl": ("query-response", 3, 3, ()),
    "ms-swift/swift_pre.csv": (None, 3, 0, ("unknown_format", "--data.map text=response")),
    "ms-swift/swift_pre.jsonl": (None, 3, 0, ("unknown_format", "--data.map text=response")),
    "ms-swift/swift_single.csv": ("query-response", 3, 3, ()),
    "ms-swift/swift_single.jsonl": ("query-response", 3, 3, ()),
    "openai-cookbook/toy_chat_fine_tuning.jsonl": ("chat", 5, 4, ("assistant_first", "in front")),
    "oumi/alpaca_format.jsonl": ("alpaca", 2, 2, ()),
    "oumi/judge_input.jsonl": (None, 4, 0, ("unknown_format", "--data.map query=request")),
    "oumi/oumi_format.jsonl": ("chat", 2, 2, ()),
    "tinker-cookbook/conversations.jsonl": ("chat", 128, 128, ()),
    "torchtune/chat_tiny.json": ("sharegpt", 1, 1, ()),
    "torchtune/hh_rlhf_tiny.json": (None, 1, 0, ("preference", "--data.map messages=chosen")),
    "torchtune/instruct_tiny.json": ("alpaca", 2, 2, ()),
}
# The way out that a fault names, taken.
MAPPED = {
    "ms-swift/swift_pre.csv": ({"text": "response"}, "text", 3),
    "ms-swift/swift_pre.jsonl": ({"text": "response"}, "text", 3),
    "oumi/judge_input.jsonl": ({"query": "request"}, "query-response", 4),
    "torchtune/hh_rlhf_tiny.json": ({"messages": "chosen"}, "chat", 1),
}
# file: rows, columns, line of the last row and a value in it; or the code of its fault and its line
TABLES = {
    "begrotingsanalyse-2011.csv": ("no_header", 1),
    "blank_line.ods": (3, 3, 5, ("Name", "Ian")),
    "complex.csv": (3, 4, 4, ("temperature", "6,000,000")),
    "example.tsv": (140, 17, 141, ("expr1_0_imp", "21488")),
    "excel_pasting.csv": ("no_header", 1),
    "long.csv": (3999, 1, 4000, ("foo", "foo")),
    "null.csv": ("no_header", 1),
    "simple.csv": (6, 3, 7, ("place", "Berkeley")),
    "simple.ods": (3, 3, 4, ("When", "2015-11-11")),
    "simple.psv": (28, 6, 29, ("Year", "2013")),
    "simple.ssv": (6, 3, 7, ("temperature", "5")),
    "simple.unknown": ("empty_file", 0),
    "simple.xls": (6, 3, 7, ("date", "2011-01-03")),
    "simple.xlsx": (6, 3, 7, ("temperature", "5")),
    "simple.zip": (6, 3, 7, ("place", "Berkeley")),
    "skip_initials.csv": (2, 2, 3, ("field2", "goodbye2")),
    "small.csv": ("empty_file", 0),
    "spanish_chars.csv": (115, 8, 117, ("SF_ID", "")),
    "sparse_with_column_errors.csv": (2200, 4, 2238, ("LP", "Y39000")),
    "utf-16le_encoded.csv": (327, 19, 328, ("Organisation_code", "NYA04")),
    "utf8bom.csv": ("empty_file", 0),
}


def names(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    aside = ("README.md", "UPSTREAM_LICENSE.txt")
    return {str(path.relative_to(folder)) for path in files if path.name not in aside}


def test_every_file_is_in_a_table():
    assert names(FOREIGN) == READ.keys()
    assert names(MESSY) == TABLES.keys()


@pytest.mark.parametrize("name", READ)
def test_a_file_of_another_tool_is_read_or_answered_with_the_right_question(name):
    reading = scan(FOREIGN / name)
    format, rows, sound, asked = READ[name]
    assert (reading.format, reading.rows, len(reading.conversations)) == (format, rows, sound)
    assert bool(reading.reason) == (format is not None)
    if not asked:
        assert reading.faults == ()
        return
    (fault,) = reading.faults
    code, word = asked
    assert fault.code == code
    assert word in fault.remedy


@pytest.mark.parametrize("name", MAPPED)
def test_the_flag_that_a_question_names_is_the_way_out(name):
    columns, format, rows = MAPPED[name]
    reading = scan(FOREIGN / name, columns=columns)
    assert (reading.format, len(reading.conversations), reading.faults) == (format, rows, ())


@pytest.mark.parametrize("name", TABLES)
def test_a_messy_table_is_read_or_gives_a_clear_error(name):
    records = list(read_records(MESSY / name))
    rows = [record for record in records if record.values is not None]
    faults = [record for record in records if record.problem]
    if len(TABLES[name]) == 2:
        code, line = TABLES[name]
        (fault,) = faults
        assert (rows, fault.problem.code, fault.line) == ([], code, line)
        assert fault.problem.remedy
        return
    count, columns, line, (column, value) = TABLES[name]
    assert (len(rows), faults) == (count, [])
    assert len({column for row in rows for column in row.values}) == columns
    assert rows[-1].line == line
    assert rows[-1].values[column] == value


def test_letters_of_the_encoding_that_was_taken_are_right():
    spanish = [r for r in read_records(MESSY / "spanish_chars.csv") if r.values]
    assert "gestión  gubernamental" in spanish[0].values["Descripción"]
    german = [r for r in read_records(MESSY / "sparse_with_column_errors.csv") if r.values]
    assert german[0].values["Bezeichnung"].startswith("Trägerorganisationen; Umstrukturierung")
    for name in ("spanish_chars.csv", "sparse_with_column_errors.csv"):
        (note,) = (note for note in scan(MESSY / name).notes if note.code == "encoding")
        assert "cp1252" in note.message


def turns(name):
    return [[(m.role, m.content) for m in c.messages] for c in scan(FOREIGN / name).conversations]


def test_alpaca_joins_instruction_and_input_behind_system_and_history():
    full = [("system", "system123"), ("user", "aaaaa"), ("assistant", "bbbbb")]
    full += [("user", "11111\n22222"), ("assistant", "33333")]
    first, short, given = turns("ms-swift/alpaca.jsonl")
    assert first == full
    assert short == [("user", "aaaaa"), ("assistant", "ccccc")]
    assert given == [("user", "AAAAA\nBBBBB"), ("assistant", "CCCCC")]
    assert turns("ms-swift/alpaca.csv")[0][0] == ("system", "00000")
    assert turns("ms-swift/alpaca.csv")[0][-1] == ("assistant", "3.3")
    assert turns("ms-swift/alpaca.csv")[1] == short


def test_a_history_of_turns_comes_before_the_query():
    single, none, many = turns("ms-swift/swift_multi.jsonl")
    assert single == [("system", "00000"), ("user", "55555"), ("assistant", "66666")]
    assert none == [("user", "eeeee"), ("assistant", "fffff")]
    assert [text for _, text in many] == ["AAAAA", "BBBBB", "CCCCC", "DDDDD", "EEEEE", "FFFFF"]


def test_both_ways_of_writing_turns_are_the_same_conversation():
    pairs, turned = turns("ms-swift/sharegpt.jsonl"), turns("ms-swift/conversations.jsonl")
    assert pairs[0] == turned[0] == [("system", "00000"), ("user", "11111"), ("assistant", "22222")]
    assert [role for role, _ in pairs[2]] == ["user", "assistant"] * 3
    (tiny,) = turns("torchtune/chat_tiny.json")
    assert [role for role, _ in tiny] == ["system", *["user", "assistant"] * 2]
