import pytest

from tunesmith.core.errors import RagError
from tunesmith.retrieval.passage import Filter
from tunesmith.retrieval.retrieve import require_passages
from tunesmith.retrieval.store import open_store


@pytest.fixture
def store(indexed):
    indexed()
    return open_store(indexed.uri)


@pytest.mark.parametrize(
    "where",
    [Filter(), Filter(source="*.md"), Filter(kind="text", source="t*"), Filter(heading="Leave")],
)
def test_conditions_that_passages_meet_pass(store, where):
    require_passages(store, where)


@pytest.mark.parametrize(
    ("where", "message", "remedy"),
    [
        (Filter(kind="pdff"), "kind=pdff.", "markdown, text"),
        (Filter(source="leav.md"), "source=leav.md.", "leave.md"),
        (Filter(source="*.md", page=3), "page=3.", "PDF"),
        (Filter(heading="leave"), "heading=leave.", "capitals"),
        (Filter(source="*.md", kind="text"), "source=*.md, kind=text together.", "Leave one"),
    ],
)
def test_the_condition_that_no_passage_meets_is_told(store, where, message, remedy):
    with pytest.raises(RagError) as refused:
        require_passages(store, where)
    assert refused.value.message == f"No passage has {message}"
    assert remedy in refused.value.remedy
