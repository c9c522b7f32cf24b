"""Ten situations, and what is recommended for each, with its reason and its evidence."""

from dataclasses import replace

import pytest

from tunesmith.core.language import catalogue_of
from tunesmith.methods import table
from tunesmith.studies.recommendation import Situation, facts_of, recommend, rules

CHECKED = frozenset()


class Plan:
    """What a method takes here, as far as a recommendation asks."""

    def __init__(self, *, fits=True, changes=()):
        self.fits, self.peak_bytes, self.changes = fits, 2_000_000_000, changes


def plans(**fits):
    return {kind: Plan(fits=fits.get(kind.replace("-", "_"), True)) for kind in table.METHODS}


def situation(goal, **given):
    usual = {
        "rows": 900,
        "tokens_per_row": 60.0,
        "notes": CHECKED,
        "plans": plans(),
        "parameters": 135_000_000,
    }
    return Situation(goal, **{**usual, **given})


SITUATIONS = {
    "prices": (
        situation("Answer questions about our current prices and stock"),
        ("retrieval", None),
        "looked up",
        "the goal says `price`",
    ),
    "prices in a persona's words": (
        situation("Answer in the persona of Momo, with today's prices"),
        ("both", "lora"),
        "looked up",
        "the goal says `price`",
    ),
    "recited facts": (
        situation("Know our company", notes=frozenset({"knowledge"})),
        ("retrieval", None),
        "cite and correct",
        "data check: knowledge",
    ),
    "an instruction does it": (
        situation("Classify the sentiment", scores={"prompted": (0.97, 0.93), "base": (0.1, 0.05)}),
        ("prompt", None),
        "nothing needs training",
        "prompted: 97 %",
    ),
    "too few rows": (
        situation("Answer as JSON", rows=12),
        ("fine-tune", None),
        "fewer rows",
        "12 rows, 50 are the fewest",
    ),
    "reviews in a tiny file": (
        situation("Tell the sentiment of reviews, in a tiny adapter", checks=["label"]),
        ("fine-tune", "prompt"),
        "a few vectors",
        "the goal says `tiny`",
    ),
    "long documents": (
        situation("Shorten reports slightly", tokens_per_row=900.0),
        ("fine-tune", "p-tuning"),
        "every layer",
        "900 tokens a row",
    ),
    "a polite tone": (
        situation("Reply in a polite tone", checks=["ends_with"]),
        ("fine-tune", "lora"),
        "Style, format and persona",
        "the goal says `tone`",
    ),
    "a 7B base on a small card": (
        situation("Answer as JSON", plans=plans(lora=False, full=False), parameters=7_000_000_000),
        ("fine-tune", "qlora"),
        "4-bit",
        "qlora takes 2.0 GB here (7.0 B)",
    ),
    "a new language": (
        situation("Teach the language of our island, a dialect", rows=20_000),
        ("fine-tune", "full"),
        "every weight",
        "20,000 rows",
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_ten_situations(name):
    given, (way, method), reason, evidence = SITUATIONS[name]
    found = recommend(given)
    assert (found.way, found.method) == (way, method)
    last = found.decisions[-1] if way != "both" else found.decisions[0]
    assert reason in last.reason
    assert any(evidence in each for each in last.evidence), last.evidence
    document = found.to_json()
    assert document["method"] == method
    assert all(each["source"] for each in document["decisions"])


def test_a_method_that_does_not_fit_comes_with_what_would_make_it_fit():
    given = situation(
        "Reply politely",
        plans={kind: Plan(fits=False, changes=("method.rank 4",)) for kind in table.METHODS},
    )
    found = recommend(given)
    assert (found.method, found.changes) == ("lora", ("method.rank 4",))


def test_rows_with_faults_are_fixed_first():
    found = recommend(situation("Reply politely", faults=3))
    assert (found.method, found.decisions[-1].answer) == (None, "fix")
    assert found.decisions[-1].evidence == ("3 faults",)


def test_no_claim_is_made_of_what_was_not_run():
    unrun, run = (
        situation("Reply politely"),
        situation("Reply politely", scores={"examples": (0.4, 0.3)}),
    )
    assert "was not run" in recommend(unrun).decisions[0].reason
    assert "were run" in recommend(run).decisions[0].reason
    unchecked = replace(unrun, notes=None)
    assert recommend(unchecked).decisions[1].answer == "unchecked"


def test_the_table_is_whole():
    """Each part ends with a rule for everything, each rule names facts that there are, its kinds
    are methods, and its words are there in Korean.
    """
    known = {*rules()["words"], *rules()["groups"], *rules()["checks"]}
    known |= {f"fits_{kind}" for kind in table.METHODS}
    known |= {"few_rows", "faults", "is_checked", "answers_are_facts", "long_documents"}
    known |= {"rows_for_full", "prompt_was_run", "prompt_is_enough"}
    known |= {"contradictions", "leakage", "near_duplicates", "imbalance", "duplicates"}
    korean = catalogue_of("ko")
    for part in ("ways", "data", "methods"):
        assert not {"when", "any"} & rules()[part][-1].keys()
        for rule in rules()[part]:
            named = {*rule.get("when", ()), *rule.get("any", ()), *rule.get("unless", ())}
            assert named <= known, named - known
            assert rule["source"]
            for text in (rule["reason"], rule.get("measured")):
                assert text is None or text in korean, text
    assert {rule["answer"] for rule in rules()["methods"]} <= table.METHODS.keys()


@pytest.mark.parametrize(
    ("goal", "fact"),
    [
        ("현재 가격과 재고를 알려 주세요", "changing_facts"),
        ("공손한 말투로 답해요", "style"),
        ("의도를 분류해요", "labels"),
    ],
)
def test_a_korean_goal_is_read_too(goal, fact):
    assert fact in facts_of(situation(goal))


def test_a_word_counts_at_the_beginning_of_a_word():
    assert "labels" not in facts_of(situation("Write elegant prose for a storage unit"))
