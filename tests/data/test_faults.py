"""A message about many faults shows some of every kind, and counts them all."""

import pytest

from tunesmith.data.faults import (
    KINDS,
    LISTED,
    SHOWN_CAUSES,
    TEXT_CHARACTERS,
    Fault,
    Faults,
    FaultyData,
    Note,
    RowReport,
    refuse,
)


def faults(code, count):
    return [Fault(code, "what.", "remedy.", "f", line) for line in range(1, count + 1)]


def test_few_faults_are_shown_in_full():
    error = FaultyData([*faults("empty", 2), Fault("empty", "other.", "remedy.", "f", 3)])
    assert str(error) == "f:1, 2: what. remedy.\nf:3: other. remedy.\n3 faults: 3 empty."
    assert error.code == "empty"


def test_many_causes_are_cut_but_counted_and_no_kind_is_hidden():
    many = [Fault("empty", f"what {i}.", "remedy.", "f", i) for i in range(1, 51)]
    error = FaultyData([*many, *faults("roles", 3)])
    lines = str(error).splitlines()
    assert len([line for line in lines if line.startswith("f:")]) == SHOWN_CAUSES
    assert "f:1, 2, 3: what. remedy." in lines
    assert lines[-2:] == ["... and 31 more.", "53 faults: 50 empty, 3 roles."]
    assert len(error.faults) == 53
    assert error.code == "data"


def test_faults_with_the_same_words_are_one_with_the_first_lines():
    lines = str(FaultyData(faults("empty", 50))).splitlines()
    assert lines == ["f:1, 2, 3, 4, 5 (+45): what. remedy.", "50 faults: 50 empty."]


def test_fault_of_a_whole_file_has_no_line():
    assert str(Fault("empty_file", "holds no rows.", "", "f", None)) == "f: holds no rows."


def test_notes_count_rows_in_order_of_appearance():
    book = RowReport()
    for line in (2, 5):
        book.add_notes([Note("b", "said")], line=line)
    book.add_notes([Note("a", "other")], line=6)
    assert [(n.code, n.count, n.lines) for n in book.notes] == [("b", 2, (2, 5)), ("a", 1, (6,))]


def test_a_book_lists_the_first_faults_of_each_code_and_counts_the_others():
    book = RowReport()
    book.add_faults(faults("empty", LISTED + 5))
    book.add_faults(faults("roles", 2))
    told = book.faults
    assert len(told.listed) == LISTED + 2
    assert told.unlisted == {"empty": 5}
    assert told.count == LISTED + 7
    assert {fault.line for fault in told.listed if fault.code == "roles"} == {1, 2}


def test_books_of_parts_are_the_book_of_the_whole():
    everything = [*faults("empty", LISTED + 5), *faults("roles", 3)]
    whole, parts = RowReport(), RowReport()
    whole.add_faults(everything)
    for start in range(0, len(everything), 300):
        part = RowReport()
        part.add_faults(everything[start : start + 300])
        parts.merge(part.faults)
    assert parts.faults == whole.faults
    assert not RowReport().faults


def test_a_fault_of_the_whole_file_is_told_once_however_many_parts_have_it():
    whole, book = Fault("end_not_trained", "what.", "remedy.", "f", None), RowReport()
    for number in range(3):
        part = RowReport()
        part.add_faults([whole, whole, Fault("empty", "what.", "remedy.", "f", number + 1)])
        book.merge(part.faults)
    found = book.faults
    assert [fault.line for fault in found.listed] == [None, 1, 2, 3]
    assert found.count == 4


def test_what_is_not_listed_is_said_where_a_run_refuses():
    with pytest.raises(FaultyData) as refused:
        refuse(Faults(tuple(faults("empty", 2)), {"empty": 1_000_000}))
    assert str(refused.value).splitlines()[1:] == [
        "... and 1,000,000 more.",
        "1,000,002 faults: 1,000,002 empty.",
    ]
    refuse(Faults())


def test_a_text_that_quotes_a_row_is_shortened():
    assert Fault("broken", "of two\nlines", "y").at("f", 1).message == "of two lines"
    fault = Fault("unknown_role", "x" * 10**6, "y").at("f", 1)
    assert len(fault.message) < TEXT_CHARACTERS + 50
    assert "999,000 characters left out" in fault.message
    book = RowReport()
    for line in (1, 2):
        book.add_notes([Note("unused", "z" * 5000)], line=line)
    (note,) = book.notes
    assert len(note.message) < TEXT_CHARACTERS + 50
    assert (note.count, note.lines) == (2, (1, 2))


def test_notes_are_bounded_in_lines_and_in_kinds_and_count_every_row():
    book = RowReport()
    for line in range(1, LISTED + 11):
        book.add_notes([Note("same", "always"), Note("own", f"row {line}")], line=line)
    same = [note for note in book.notes if note.code == "same"]
    own = [note for note in book.notes if note.code == "own"]
    assert [(note.count, len(note.lines)) for note in same] == [(LISTED + 10, LISTED)]
    assert len(own) == KINDS + 1
    assert sum(note.count for note in own) == LISTED + 10
    assert own[-1].message == "and others of the kind `own`"


def test_notes_of_parts_are_the_notes_of_the_whole():
    whole, parts = RowReport(), RowReport()
    for start in range(0, 3000, 300):
        part = RowReport()
        for line in range(start, start + 300):
            notes = [Note("a", "always"), Note("b", f"row {line % 7}")]
            whole.add_notes(notes, line=line)
            part.add_notes(notes, line=line)
        parts.merge(Faults(), part.notes)
    assert parts.notes == whole.notes
