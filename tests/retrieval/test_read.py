import pytest

from tests.retrieval.toy import docx, encrypted_pdf, pdf, pdf_bomb
from tunesmith.core.errors import RagError
from tunesmith.retrieval import document as limits
from tunesmith.retrieval.read import kind_of, read_document
from tunesmith.retrieval.readers import _line_of


def refusal(name, data):
    with pytest.raises(RagError) as refused:
        read_document(name, data)
    assert refused.value.remedy
    return refused.value


def test_each_ending_has_a_kind_and_others_have_none():
    names = ["a.TXT", "a.md", "a.html", "a.pdf", "a.docx", "a.csv", "a.rs"]
    kinds = [kind_of(name).name for name in names]
    assert kinds == ["text", "markdown", "html", "pdf", "docx", "rows", "code"]
    assert kind_of("a.png") is kind_of("Makefile") is None


@pytest.mark.parametrize("data", [b" \n", b"\xef\xbb\xbf", b"<!-- only this -->"])
def test_a_document_without_text_is_refused(data):
    assert refusal("a.md", data).code == "no_text"


def test_more_text_than_a_file_may_hold_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "MAX_TEXT_BYTES", 1000)
    assert refusal("a.txt", b"a" * 1001).code == "too_large"


@pytest.mark.parametrize(
    ("page", "at"),
    [("of before\n2.1 Part two\nafter", 10), ("Part\ntwo and more", 0), ("no such line", 0)],
)
def test_a_title_is_where_its_line_is(page, at):
    assert _line_of("Part two", page) == at


def test_pages_and_the_outline_of_a_pdf_are_known():
    document = read_document("a.pdf", pdf("first page", "second page", outline="Part two"))
    second = document.text.index("second")
    assert [document.page(at) for at in (0, second)] == [1, 2]
    assert document.heading_path(second, second + 5) == ("Part two",)
    assert document.heading_path(0, 5) == ()


def test_an_encrypted_pdf_says_so():
    assert refusal("a.pdf", encrypted_pdf()).code == "encrypted"


def test_a_pdf_of_pictures_asks_for_ocr():
    refused = refusal("a.pdf", pdf("", ""))
    assert refused.code == "no_text"
    assert "OCR" in refused.remedy


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
@pytest.mark.parametrize(
    "data",
    [b"nothing of the kind", pdf("x")[:40], docx(("", "x"))[:90]],
    ids=["text", "pdf", "docx"],  # the bytes of a DOCX hold the time at which it was made
)
def test_a_damaged_file_is_refused(name, data):
    assert refusal(name, data).code == "damaged"


def test_a_pdf_that_unfolds_into_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "MAX_TEXT_BYTES", 100_000)
    bomb = pdf_bomb(400)
    assert len(bomb) < 20_000
    assert refusal("a.pdf", bomb).code == "too_large"


def test_headings_of_a_docx_are_known():
    document = read_document("a.docx", docx(("Heading1", "Leave"), ("", "Thirty days.")))
    at = document.text.index("Thirty")
    assert document.heading_path(at, at + 5) == ("Leave",)


def test_an_encrypted_docx_and_one_that_unfolds_into_too_much_are_refused(monkeypatch):
    assert refusal("a.docx", b"\xd0\xcf\x11\xe0 and so on").code == "encrypted"
    monkeypatch.setattr("tunesmith.retrieval.readers.MAX_FILE_BYTES", 100_000)
    assert refusal("a.docx", docx(("", "x"), zeros=200_000)).code == "too_large"


@pytest.mark.parametrize(
    ("marks", "shown"),
    [
        ("<w:vanish/>", False),
        ("<w:b/><w:webHidden/>", False),
        ('<w:vanish w:val="0"/>', True),
        ("<w:b/>", True),
    ],
)
def test_text_that_word_hides_is_left_out(marks, shown):
    text = read_document("a.docx", docx(("", "before"), marks=marks)).text
    assert ("marked" in text) is shown
    assert "before" in text
