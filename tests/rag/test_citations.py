import pytest

from tunesmith.rag.citations import check_citations
from tunesmith.rag.prompt import Source

SOURCES = [
    Source(1, "a.txt", "The company pays for\nevery train ticket."),
    Source(2, "b.txt", "Dogs may come “on Fridays”, it says. And then it goes [...]"),
]


@pytest.mark.parametrize(
    ("answer", "cited", "unknown"),
    [
        ("It pays [1].", (1,), ()),
        ("It pays [1, 2] and [2][1].", (1, 2), ()),
        ("It pays [3]; see [1; 7].", (1,), (3, 7)),
        ("It pays.", (), ()),
        ("array[i] and [x]", (), ()),
    ],
)
def test_citations_are_told_apart_by_whether_the_source_exists(answer, cited, unknown):
    found = check_citations(answer, SOURCES)
    assert (found.cited, found.unknown) == (cited, unknown)


@pytest.mark.parametrize(
    ("answer", "found_in"),
    [
        ('It says "pays for every train ticket" [1].', (1,)),
        ("It says “Pays for every  Train Ticket.”", (1,)),
        ('It says "pays for every plane ticket" [1].', ()),
        ('It says "come “on Fridays”, it" there', None),
        ("『Dogs may come』라고 합니다", (2,)),
    ],
)
def test_quotes_are_looked_for_in_every_source(answer, found_in):
    quotes = check_citations(answer, SOURCES).quotes
    if found_in is not None:
        assert [quote.found_in for quote in quotes] == [found_in]


def test_short_words_in_quotation_marks_are_no_quotes():
    assert check_citations('a so-called "perk" of work', SOURCES).quotes == ()


def test_faults_name_what_is_wrong():
    faults = check_citations("“It pays for the moon” [4]", SOURCES).faults()
    assert len(faults) == 2
    assert "[4]" in faults[0]
    assert "moon" in faults[1]
