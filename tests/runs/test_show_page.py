"""The page of rows: it holds the text as it is, marks what is trained, and loads nothing."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.runs.show_data import ShownRow, show_page

TEXTS = st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.booleans()),
    min_size=1,
    max_size=8,
)
HIDDEN = {"spoken", "cut"}


class Page(HTMLParser):
    """What a reader sees: text of each row, marked and unmarked, and every tag."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.marked, self.cuts, self.tags = [], [], [], []
        self._open = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append((tag, dict(attrs).get("class", "")))
        if tag == "pre":
            self.rows.append("")
            self.marked.append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        kinds = dict(self._open)
        classes = {kind for _, kind in self._open}
        if "cut" in classes:
            self.cuts.append(data)
        if "pre" not in kinds or classes & HIDDEN:
            return
        # As browsers do with a line break right behind <pre>.
        data = data.removeprefix("\n") if not self.rows[-1] and not self.marked[-1] else data
        self.rows[-1] += data
        if "mark" in kinds:
            self.marked[-1] += data


def row(*tokens, limit=100):
    texts, supervised = zip(*tokens, strict=True)
    return ShownRow("a <b>.jsonl", 3, texts, supervised, limit)


def page_of(*rows, **options):
    return show_page(list(rows), file="a <b>.jsonl", model="m & n", **options)


def visible(text):
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "␛", text)


@given(tokens=TEXTS, by_token=st.booleans(), limit=st.integers(0, 9))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_row_stands_there_as_it_is_with_what_is_trained_marked(tokens, by_token, limit):
    shown = row(*tokens, limit=limit)
    page = Page(page_of(shown, by_token=by_token))
    assert page.rows == [visible(shown.text)]
    assert page.marked == [visible("".join(text for text, trained in tokens if trained))]
    assert len(page.cuts) == bool(shown.cut is not None and shown.cut < len(shown.text))


def test_text_cannot_become_part_of_the_page():
    attack = "</pre></mark><script>alert(1)</script><img src=x onerror=alert(1)>&lt;"
    page = page_of(row((attack, True)), remarks=["<i>note</i>"])
    parsed = Page(page)
    assert parsed.marked == [attack]
    tags = {tag for tag, _ in parsed.tags}
    assert tags.isdisjoint({"script", "img", "i", "b", "link", "iframe"})
    assert "a &lt;b&gt;.jsonl" in page
    assert "m &amp; n" in page


def test_the_page_loads_nothing_and_says_what_it_is():
    page = page_of(row(("a", True)))
    parsed = Page(page)
    assert not [a for _, a in parsed.tags if {"src", "href"} & a.keys()]
    assert "url(" not in page
    assert "@import" not in page
    assert dict(parsed.tags)["html"] == {"lang": "en"}
    assert {"h1", "h2", "main", "title", "article"} <= {tag for tag, _ in parsed.tags}
    for condition in ("prefers-color-scheme: dark", "@media print"):
        assert condition in page


def test_a_cut_says_how_many_tokens_are_kept():
    page = Page(page_of(row(("ab", False), ("cd", True), ("ef", True), limit=2)))
    assert page.cuts == ["cut here: 2 tokens of 3"]
    assert page.rows == ["abcdef"]
    assert page.marked == ["cdef"]


@pytest.mark.parametrize("by_token", [False, True])
def test_borders_stand_between_tokens_where_they_are_asked_for(by_token):
    page = Page(page_of(row(("a", False), ("b", True), ("c", True)), by_token=by_token))
    classes = [attributes.get("class") for _, attributes in page.tags]
    assert classes.count("token") == (3 if by_token else 0)
