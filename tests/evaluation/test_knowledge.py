"""When retrieval is the right tool: only where facts were asked for and surely not given."""

import numpy as np
import pytest

from tunesmith.data.quality.unsuitable import Facts
from tunesmith.evaluation.knowledge import assess_knowledge, fact_of, recall_of

FACTS = Facts(0.97, 0.2, 1.0, 0.3)


def asked(base, tuned, *, n=60, rng=None):
    """So many facts, of which either arm gives a share; which ones is chance where rng is given."""
    facts = [fact_of(f"What is fact {i} of Zorb?", f"Plim{i}x") for i in range(n)]

    def answers(share):
        known = rng.random(n) < share if rng else np.arange(n) < round(share * n)
        return [f.answer if k else "I cannot say" for f, k in zip(facts, known, strict=True)]

    return recall_of(facts, answers(base), answers(tuned), seed=0)


def judged(other, trained=(0.0, 0.9), held=(0.0, 0.0), **more):
    sets = {
        "other_words": asked(*other, **more),
        "as_trained": asked(*trained, **more),
        "held_out": asked(*held, **more),
    }
    return assess_knowledge(sets, facts=FACTS)


def test_facts_that_can_only_be_recited_fit_retrieval():
    found = judged((0.0, 0.3))
    assert found.outcome == "retrieval"
    assert found.finding.harm
    assert found.text() == (
        "These answers look like facts, and retrieval fits facts better than fine-tuning: asked "
        "in other words, the tuned model gives 30 % of 60 facts (base 0 %). `tunesmith rag` "
        "answers from the documents themselves, with their source. In the words of the training "
        "rows it gives 90 %. Of facts that are in no training row it gives 0 % (base 0 %)."
    )


def test_facts_learned_known_or_worked_out_draw_no_alarm():
    assert judged((0.0, 1.0)).outcome == "learned"
    assert judged((1.0, 1.0)).outcome == "known"
    assert judged((0.1, 0.5), held=(0.1, 0.9)).outcome == "skill"
    for found in (judged((0.0, 1.0)), judged((1.0, 1.0)), judged((0.1, 0.5), held=(0.1, 0.9))):
        assert not found.finding.harm


def test_few_facts_cannot_tell():
    assert judged((0.0, 0.8), n=5).outcome == "cannot-tell"


def test_at_the_threshold_it_is_wrong_as_seldom_as_promised():
    repeats = 400
    wrong = 0
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        found = assess_knowledge({"other_words": asked(0.0, 0.9, rng=rng)}, facts=FACTS)
        wrong += found.outcome == "retrieval"
    assert wrong / repeats <= 0.025 + 2 * (0.025 * 0.975 / repeats) ** 0.5 + 0.02


def test_nothing_asked_in_other_words_is_refused():
    with pytest.raises(ValueError, match="in other words"):
        assess_knowledge({"as_trained": asked(0.0, 1.0)}, facts=FACTS)


def test_sets_that_were_not_asked_are_left_out_of_text_and_document():
    found = assess_knowledge({"other_words": asked(0.0, 0.1)}, facts=None)
    document = found.to_json()
    assert document["data"] is None
    assert "as_trained" not in document
    assert "held_out" not in document
    assert "In the words of the training rows" not in found.text()


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(
    "case", [(0.0, 0.3), (0.0, 1.0), (1.0, 1.0)], ids=["retrieval", "learned", "known"]
)
def test_every_outcome_has_words(language, case):
    assert "{" not in judged(case).text(language=language)
    assert "{" not in judged((0.0, 0.8), n=5).text(language=language)
    assert "{" not in judged((0.1, 0.5), held=(0.1, 0.9)).text(language=language)
