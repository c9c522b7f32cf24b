import pytest

from tunesmith.errors import RagError
from tunesmith.rag.read.plain import decode, read_code


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949", "euc-kr"])
def test_text_is_read_in_what_it_was_written(encoding):
    text = "휴가는 서른 날이고, 열차표는 회사가 냅니다. 개는 금요일에 올 수 있습니다.\r\n" * 4
    assert decode(text.encode(encoding)) == text


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
