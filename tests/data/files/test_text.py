"""Encodings: what bytes prove is taken and told; what they do not is asked."""

import codecs

import pytest

from tests.data.files.reading import read
from tunesmith.data.files import text as prose
from tunesmith.data.files.text import choose_encoding
from tunesmith.data.records import read_records
from tunesmith.data.rows import ReadOptions

KOREAN = "question,answer\n12시 땡!,하루가 또 가네요.\n1지망 학교 떨어졌어,위로해 드립니다.\n"
FRENCH = "question,réponse\nÇa va ?,Très bien, merci à vous.\nOù est l'école ?,Près de la forêt.\n"
POLISH = "pytanie,odpowiedź\nJak się masz?,Dziękuję bardzo\nGdzie jest szkoła?,Za rogiem Żółtej\n"
TURKISH = "soru,cevap\nSiparişim ne zaman gelir?,İki gün içinde ışık hızıyla\nİade?,Değil, üç gün\n"
RUSSIAN = "вопрос,ответ\nКак дела?,Спасибо хорошо\nГде школа?,Там за углом\n"
JAPANESE = "質問,答え\n元気ですか,はい元気です\n学校はどこですか,あそこです\n"
TABLE = "prompt,completion\n안녕?,잘 지냈어요.\n뭐 해?,공부하고 있어요.\n"


def rows(tmp_path, data, **options):
    path = tmp_path / "rows.csv"
    path.write_bytes(data)
    records = list(read_records(path, ReadOptions(**options)))
    notes = {note.code for record in records for note in record.notes}
    faults = [(record.problem.code, record.line) for record in records if record.problem]
    return [record.values for record in records if record.values], faults, notes


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (KOREAN, "cp949"),
        (KOREAN, "euc_kr"),
        (FRENCH, "cp1252"),
        (FRENCH, "latin-1"),
        (POLISH, "cp1250"),
        (TURKISH, "cp1254"),
        (RUSSIAN, "cp1251"),
    ],
)
def test_a_legacy_encoding_is_told_from_its_bytes(text, encoding):
    head = text.encode(encoding)
    choice = choose_encoding(head, "auto")
    assert head.decode(choice.encoding) == text
    assert choice.encoding in choice.note.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949"])
def test_a_table_is_the_same_in_every_encoding(tmp_path, encoding):
    found, faults, notes = rows(tmp_path, TABLE.encode(encoding))
    assert found == [
        {"prompt": "안녕?", "completion": "잘 지냈어요."},
        {"prompt": "뭐 해?", "completion": "공부하고 있어요."},
    ]
    assert faults == []
    assert notes == (set() if encoding.startswith("utf-8") else {"encoding"})


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_of_latin_text_needs_no_mark(encoding):
    assert (
        choose_encoding("question,answer\nhello,there\n".encode(encoding), "auto").encoding
        == encoding
    )


@pytest.mark.parametrize("size", range(9))
def test_a_few_letters_are_utf8(size):
    assert choose_encoding(b"question"[:size], "auto").encoding == "utf-8"


def test_long_ascii_does_not_hide_what_the_letters_say():
    text = KOREAN + "x" * 60_000 + "\n"
    assert choose_encoding(text.encode("cp949"), "auto").encoding == "cp949"


def test_a_wrong_byte_does_not_make_it_another_encoding():
    whole = KOREAN.encode("cp949") * 3
    damaged = whole.replace("위로".encode("cp949"), b"\xff\xc0", 1)
    assert choose_encoding(damaged, "auto").encoding == "cp949"


def test_bytes_that_are_no_text_are_asked_about(tmp_path):
    noise = bytes(range(128, 256)) * 4
    assert rows(tmp_path, b"a,b\n" + noise + b",x\n")[1] == [("unknown_encoding", 0)]


def test_what_two_encodings_read_as_well_is_asked(tmp_path):
    found, faults, _ = rows(tmp_path, JAPANESE.encode("cp932"))
    assert (found, faults) == ([], [("ambiguous_encoding", 0)])
    found, faults, _ = rows(tmp_path, JAPANESE.encode("cp932"), encoding="cp932")
    assert (found[0], faults) == ({"質問": "元気ですか", "答え": "はい元気です"}, [])


def test_a_few_wrong_bytes_are_damage_at_their_line(tmp_path):
    damaged = TABLE.encode().replace("뭐".encode(), b"\xeb\xad")
    found, faults, notes = rows(tmp_path, damaged)
    assert (len(found), faults, notes) == (1, [("not_utf8", 3)], set())
    found, faults, _ = rows(tmp_path, b"prompt,completion\ncaf\xe9,yes\n")
    assert (found, faults) == ([], [("not_utf8", 2)])


@pytest.mark.parametrize("encoding", ["cp949", "utf-16-le"])
def test_a_byte_that_the_encoding_lacks_is_a_fault_at_its_line(tmp_path, encoding):
    wrong = b"\xff" if encoding == "cp949" else b"\x00\xdc"
    data = TABLE.encode(encoding).replace("뭐".encode(encoding), wrong)
    found, faults, _ = rows(tmp_path, data, encoding=encoding)
    assert (len(found), faults) == (1, [("not_in_encoding", 3)])


def test_a_wrong_byte_of_a_document_is_named_as_it_is(tmp_path):
    document = '[\n{"prompt": "안녕하세요", "completion": "네"},\n'.encode("cp949")
    (tmp_path / "a.json").write_bytes(document + b'{"prompt": "x\xff", "completion": "y"}]')
    records = read_records(tmp_path / "a.json", ReadOptions(encoding="cp949"))
    (problem,) = (record.problem for record in records if record.problem)
    assert problem.code == "not_in_encoding"
    assert "0xff" in problem.message


def test_damage_all_over_a_utf8_text_is_told_line_by_line(tmp_path):
    lines = [f"질문 {i} 입니다,답 {i} 입니다".encode() for i in range(20)]
    for i in (3, 8, 9, 15, 17, 19):
        lines[i] += b"\xff"
    found, faults, notes = rows(tmp_path, b"\n".join([b"prompt,completion", *lines]))
    assert (len(found), notes) == (14, set())
    assert faults == [("not_utf8", i + 2) for i in (3, 8, 9, 15, 17, 19)]


def test_two_wrong_bytes_never_make_a_letter_of_utf8(tmp_path):
    data = "prompt,completion\nq,".encode("ascii") + "é".encode() + b"\n"
    found, faults, _ = rows(tmp_path, data, encoding="ascii")
    assert (found, faults) == ([], [("not_in_encoding", 2)])


@pytest.mark.parametrize("name", ["utf9", "base64", "", "nonsense"])
def test_an_encoding_that_is_none_is_told(tmp_path, name):
    assert rows(tmp_path, b"a,b\n1,2\n", encoding=name)[1] == [("unknown_encoding", 0)]


def test_any_name_of_an_encoding_does(tmp_path):
    for name in ("UTF-8", "utf8", "utf_8_sig", "U8"):
        assert rows(tmp_path, codecs.BOM_UTF8 + TABLE.encode(), encoding=name)[0][0]["prompt"]
    for name in ("CP949", "uhc", "ms949"):
        assert rows(tmp_path, TABLE.encode("cp949"), encoding=name)[0][0]["prompt"] == "안녕?"


def test_a_file_is_one_text_from_its_first_line(tmp_path):
    found = read(tmp_path / "a.txt", "\n\nOne.\n\nTwo.\r\nThree.\n\n")
    assert (found.rows, found.lines) == ([{"text": "One.\n\nTwo.\nThree."}], [3])
    assert found.notes == set()


@pytest.mark.parametrize("paragraph", [3, 10, 10_000])
def test_a_long_text_is_cut_between_lines_and_nothing_is_lost(tmp_path, monkeypatch, paragraph):
    monkeypatch.setattr(prose, "MAX_TEXT_BYTES", 500)
    lines = [f"line {i}" if i % paragraph else "" for i in range(1, 400)]
    found = read(tmp_path / "a.txt", "\n".join(lines))
    assert len(found.rows) > 5
    assert found.notes == {"long_text"}
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
    assert (found.rows, found.notes) == ([{"text": text.strip()}], {"encoding"})
