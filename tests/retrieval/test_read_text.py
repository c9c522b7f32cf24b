""""""

import pytest

from tunesmith.core.errors import RagError
from tunesmith.retrieval.decode import decode
from tunesmith.retrieval.readers import read_code, read_csv


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949", "euc-kr"])
def test_text_is_read_in_what_it_was_written(encoding):
    text = "휴가는 서른 날이고, 열차표는 회사가 냅니다. 개는 금요일에 올 수 있습니다.\r\n" * 4
    assert decode(text.encode(encoding)) == text


WESTERN = [
    "El año próximo habrá más vacaciones para todos los empleados de la compañía. Las solicitudes "
    "se envían al departamento de personal según el artículo 7. ¿Quién aprueba los días?\n",
    "A empresa concede trinta dias de férias por ano. As solicitações são enviadas ao departamento "
    "de recursos humanos até 15 de dezembro, conforme a convenção. Não há exceções.\n",
    "Företaget ger trettio dagars semester. Ärenden från början av året behandlas först.\n",
    "Café fermé.\n",
    "It’s closed on Sunday.\n",
    "Der Käufer erhält 30 Tage Urlaub. Größe und Maße sind im Büro zu erfragen.\n",
]


@pytest.mark.parametrize("text", WESTERN)
@pytest.mark.parametrize("before", ["", "plain\n" * 100_000])
def test_western_text_of_windows_keeps_its_letters(text, before):
    assert decode((before + text).encode("cp1252")) == before + text


@pytest.mark.parametrize("text", ["질문입니다. 답입니다.\n" * 9 + "\udcff", "a \udcc7\udcd1 b\n"])
def test_a_few_bytes_that_prove_no_encoding_are_refused(text):
    data = text.encode("utf-8", "surrogateescape")
    with pytest.raises(RagError, match="is no utf-8"):
        decode(data)


def test_what_two_encodings_read_as_well_is_refused():
    text = "質問,答え\n元気ですか,はい元気です\n学校はどこですか,あそこです\n"
    with pytest.raises(RagError, match="could be") as refused:
        decode(text.encode("cp932"))
    assert refused.value.code == "ambiguous_encoding"


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfe\x00", bytes(range(256))])
def test_what_is_no_text_is_refused(data):
    with pytest.raises(RagError, match="is no text"):
        decode(data)


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("class A:\n    def b(self):\n        HERE\n", ("A", "b")),
        ("class A:\n    def b(self):\n        1\n\ndef c():\n    HERE\n", ("c",)),
        ("func (s *Server) Serve() {\n\tHERE\n}\n", ("Serve",)),
        ("pub struct A;\nimpl A {\n    pub fn b() { HERE }\n}\n", ("A", "b")),
        ("export async function go() {\n  HERE\n}\n", ("go",)),
        ("HERE\ndef later(): ...\n", ()),
    ],
)
def test_code_says_in_which_definition_a_line_stands(code, path):
    document = read_code(code.encode())
    at = code.index("HERE")
    assert document.heading_path(at, at + 4) == path


@pytest.mark.parametrize(
    "text",
    [
        "name,price\nTea,3\n\nCoffee,\n",
        "name;price\r\nTea;3\r\nCoffee;\r\n",
        "name\tprice\nTea\t3\nCoffee\t\n",
    ],
)
def test_a_row_names_its_columns_and_leaves_out_empty_fields(text):
    document = read_csv(text.encode())
    assert [document.text[a:b] for a, b in document.rows] == ["name: Tea\nprice: 3", "name: Coffee"]
    assert document.heading_path(*document.rows[1]) == ("row 2",)


def test_quoted_fields_and_rows_longer_than_the_names_are_kept():
    document = read_csv(b'a,b\n"x\ny",2,more\n')
    assert document.text == "a: x\ny\nb: 2\nmore"


def test_a_table_of_one_column_is_read():
    assert read_csv(b"name\nTea\n").text == "name: Tea"


def test_a_large_field_is_read():
    assert len(read_csv(b"a,b\n" + b"x" * 300_000 + b",1\n").text) > 300_000


def test_quotes_of_later_rows_are_read_although_the_first_rows_show_none_of_them():
    rows = "".join(f"rock 'n' roll,{i}\n" for i in range(9000))
    text = f'name,n\n{rows}"He said ""no, thanks""",5\n\'t was, 6\n'
    assert read_csv(text.encode()).text.endswith(
        'name: He said "no, thanks"\nn: 5\n\nname: \'t was\nn:  6'
    )
