"""A message about many faults shows some of every kind, and counts them all."""

from tunesmith.data.faults import SHOWN_FAULTS, Fault, FaultyData, NoteBook, Remark


def faults(code, count):
    return [Fault("f", line, code, "what.", "remedy.") for line in range(1, count + 1)]


def test_few_faults_are_shown_in_full():
    error = FaultyData(faults("empty", 2))
    assert str(error) == "f:1: what. remedy.\nf:2: what. remedy.\n2 faults: 2 empty."
    assert error.code == "empty"


def test_many_faults_are_cut_but_counted_and_no_kind_is_hidden():
    error = FaultyData([*faults("empty", 50), *faults("roles", 3)])
    lines = str(error).splitlines()
    assert len([line for line in lines if line.startswith("f:")]) == SHOWN_FAULTS
    assert len([line for line in lines if line == "f:3: what. remedy."]) == 2
    assert lines[-2:] == ["... and 33 more.", "53 faults: 50 empty, 3 roles."]
    assert len(error.faults) == 53
    assert error.code == "data"


def test_fault_of_a_whole_file_has_no_line():
    assert str(Fault("f", None, "empty_file", "holds no rows.", "")) == "f: holds no rows."


def test_notes_count_rows_in_order_of_appearance():
    book = NoteBook()
    for line in (2, 5):
        book.add([Remark("b", "said")], line=line)
    book.add([Remark("a", "other")], line=6)
    assert [(n.code, n.count, n.lines) for n in book.notes()] == [("b", 2, (2, 5)), ("a", 1, (6,))]
