"""Plain text: a file is one text, a long one parts of it, and no line is lost."""

import pytest

from tests.data.files.reading import read
from tunesmith.data.files import prose


def test_a_file_is_one_text_from_its_first_line(tmp_path):
    found = read(tmp_path / "a.txt", "\n\nOne.\n\nTwo.\r\nThree.\n\n")
    assert (found.rows, found.lines) == ([{"text": "One.\n\nTwo.\nThree."}], [3])
    assert found.remarks == set()


@pytest.mark.parametrize("paragraph", [3, 10, 10_000])
def test_a_long_text_is_cut_between_lines_and_nothing_is_lost(tmp_path, monkeypatch, paragraph):
    monkeypatch.setattr(prose, "MOST_TEXT_BYTES", 500)
    lines = [f"line {i}" if i % paragraph else "" for i in range(1, 400)]
    found = read(tmp_path / "a.txt", "\n".join(lines))
    assert len(found.rows) > 5
    assert found.remarks == {"long_text"}
    parts = [row["text"].split("\n") for row in found.rows]
    assert [line for part in parts for line in part if line] == [line for line in lines if line]
    for line, part in zip(found.lines, parts, strict=True):
        assert lines[line - 1] == part[0]
    if paragraph < 100:
        assert all(lines[line - 2] == "" for line in found.lines[1:])


def test_nothing_but_space_is_a_fault(tmp_path):
    assert read(tmp_path / "a.txt", " \n\n").faults == [("empty_file", 0)]
    assert read(tmp_path / "a.md", "").faults == [("empty_file", 0)]


def test_a_wrong_byte_is_a_fault_at_its_line(tmp_path):
    assert read(tmp_path / "a.txt", b"one\ntw\xffo\nthree\n").faults == [("not_utf8", 2)]


def test_another_encoding_is_read_and_told(tmp_path):
    text = "하루가 또 가네요.\n위로해 드립니다.\n"
    found = read(tmp_path / "a.txt", text.encode("cp949"))
    assert (found.rows, found.remarks) == ([{"text": text.strip()}], {"encoding"})
