"""Yes needs every condition, no needs one broken, and the numbers are the evaluation's own."""

import re

import pytest

from tests.evaluation.judging import arm, finding, forgetting, summary
from tunesmith.core.phrases import languages
from tunesmith.evaluation.comparison import Summary, summarize
from tunesmith.evaluation.findings import PHRASES, words_in
from tunesmith.evaluation.verdict import decide
from tunesmith.evaluation.verdict_text import verdict_text

GAINED = summary(base=20, tuned=80)
FORGOT = forgetting(finding("forgotten", change=(-0.2, -0.25, -0.15)))
UNCLEAR = forgetting(finding("unclear", change=(-0.04, -0.08, 0.0)))
FELL = {"json": {"base": 99, "tuned": 50}}


@pytest.mark.parametrize(
    ("found", "kept", "answer", "reasons"),
    [
        (GAINED, forgetting(), "yes", ("better",)),
        (GAINED, None, "yes", ("better",)),
        (GAINED, FORGOT, "no", ("better", "forgot")),
        (GAINED, UNCLEAR, "cannot-tell", ("better", "forgetting-unclear")),
        (summary(base=20, tuned=80, others=FELL), None, "no", ("better", "fell")),
        (summary(base=80, tuned=20), forgetting(), "no", ("not-better",)),
        (summary(base=80, tuned=20), UNCLEAR, "no", ("not-better", "forgetting-unclear")),
        (summary(base=50, tuned=51), forgetting(), "cannot-tell", ("too-few-rows",)),
        (summary(base=50, tuned=51), FORGOT, "no", ("too-few-rows", "forgot")),
        (summary(base=50, tuned=51, others=FELL), None, "no", ("too-few-rows", "fell")),
        (summary(tuned=80), forgetting(), "cannot-tell", ("nothing-to-compare",)),
        (summary(tuned=None, base=10), None, "cannot-tell", ("no-scores",)),
        (summary(tuned=80, base=None), None, "cannot-tell", ("nothing-to-compare",)),
        (Summary((), 0.95), forgetting(), "cannot-tell", ("no-purpose",)),
        (Summary((), 0.95), FORGOT, "no", ("no-purpose", "forgot")),
    ],
)
def test_the_answer_follows_from_its_reasons(found, kept, answer, reasons):
    verdict = decide(found, forgetting=kept)
    assert (verdict.answer, verdict.reasons) == (answer, reasons)


def test_another_check_that_rose_makes_no_yes():
    flat = summary(base=50, tuned=51, others={"json": {"base": 10, "tuned": 99}})
    assert decide(flat).answer == "cannot-tell"


def test_the_best_other_arm_must_be_beaten_not_the_base():
    assert decide(summary(base=10, prompted=60, tuned=58)).answer == "cannot-tell"
    assert decide(summary(base=10, prompted=90, tuned=58)).answer == "no"
    assert decide(summary(base=10, prompted=20, tuned=58)).answer == "yes"


def test_what_fell_and_what_was_forgotten_can_be_asked_for():
    verdict = decide(summary(base=20, tuned=80, others=FELL), forgetting=FORGOT)
    assert [check.name for check in verdict.fell] == ["json"]
    assert [each.probe for each in verdict.forgetting.forgotten] == ["piqa"]


def test_the_document_holds_the_interval_that_decided():
    verdict = decide(GAINED, forgetting=UNCLEAR)
    document = verdict.to_json()
    difference = GAINED.gain.difference
    skill = {
        "check": "label",
        "against": "base",
        "difference": {
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "n": 100,
        },
        "rows_needed": None,
        "changed": {},
    }
    assert document == {
        "answer": "cannot-tell",
        "reasons": ["better", "forgetting-unclear"],
        "skill": {"answer": "yes", **skill},
        "elsewhere": {"answer": "cannot-tell", "lost": [], "unclear": ["piqa"]},
        **skill,
        "forgetting": "unclear",
    }
    # with one other arm it is also the table's
    assert GAINED.checks[0].differences["base"] == difference


TOKENS = {"base": 30.0, "prompted": 241.6, "tuned": 30.0}


def text(found, kept=None, *, tokens=None, language="en"):
    return verdict_text(
        decide(found, forgetting=kept, prompt_tokens=tokens or {}), language=language
    )


def test_a_yes_says_what_the_issue_asks_for():
    found = summary(base=3, prompted=44, tuned=91)
    low, high = (100 * limit for limit in (found.gain.difference.low, found.gain.difference.high))
    assert text(found, forgetting(), tokens=TOKENS) == (
        "Yes. Skill: yes, +47 points over the base with your 212-token prompt. Elsewhere: kept. "
        "91 % of answers now pass (base 3 %, base with your 212-token prompt 44 %; difference "
        f"to the better one +47 points, 95 % interval +{low:.0f} to +{high:.0f}). "
        "Each request is 212 tokens shorter than one to the base with your prompt."
    )


def test_the_same_in_korean():
    found = summary(base=3, prompted=44, tuned=91)
    told = text(found, forgetting(), tokens=TOKENS, language="ko")
    assert told.startswith(
        "예. 실력: 향상됨, 212토큰 지시문을 붙인 원본 모델 대비 +47%p. 그 밖의 능력: 유지됨. "
        "이제 답변의 91%가 통과합니다 (원본 모델 3%, 212토큰 지시문을 붙인 원본 모델 44%; "
        "더 나은 쪽과의 차이 +47%p, 95% 신뢰구간 +"
    )
    assert told.endswith("). 요청마다 지시문을 붙인 원본 모델에 보낼 때보다 212토큰 짧습니다.")


def test_too_few_rows_name_how_many_would_do():
    scores = {"label": {"base": arm(20, 40), "tuned": arm(24, 40, first=2)}}
    scores["label"]["tuned"][0] = scores["label"]["base"][30] = 1.0
    found = summarize(scores, seed=0)
    needed = found.gain.rows_needed
    assert text(found).startswith(
        f"Cannot tell. Skill: cannot tell with 40 rows; about {needed} would be enough. Elsewhere: "
        "not measured. 62 % of answers now pass ("
    )
    same = summary(base=50, tuned=50)
    assert text(same).startswith("Cannot tell. Skill: cannot tell with 100 rows; ")
    assert "for any practical number of rows" in text(same)
    one = summary(base=0, tuned=1, of=1)
    assert text(one).startswith("Cannot tell. Skill: cannot tell with 1 row; ")


def test_the_two_parts_are_told_apart():
    unclear = forgetting(finding("unclear", change=(-0.04, -0.08, 0.0)))
    told = text(GAINED, unclear)
    assert told.startswith("Cannot tell. Skill: yes, +")
    assert " Elsewhere: cannot tell. " in told
    assert "It is unclear whether it forgot: accuracy on `piqa`" in told
    assert text(GAINED, FORGOT).startswith("No. Skill: yes, +")
    assert " Elsewhere: lost. " in text(GAINED, FORGOT)
    assert "train.retention" in text(GAINED, FORGOT)
    retained = decide(GAINED, forgetting=FORGOT, is_retained=True)
    assert "train.retention" not in verdict_text(retained)
    assert "train.retention" not in text(GAINED, forgetting())
    flat = text(summary(base=50, tuned=51), forgetting())
    assert flat.startswith("Cannot tell. Skill: cannot tell with 100 rows; ")
    assert " Elsewhere: kept. " in flat
    worse = text(summary(base=90, tuned=51), forgetting())
    assert worse.startswith("No. Skill: no, −39 points against the base. Elsewhere: kept. ")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_check_behind_the_first_that_rose_is_told_where_the_first_did_not(language):
    same = {"base": arm(98, 100), "tuned": arm(98, 100)}
    rose = {"base": arm(33, 100), "tuned": arm(96, 100)}
    found = summarize({"form": same, "exact": rose}, seed=0)
    told = text(found, language=language)
    assert re.search(r"`exact`.*33 ?%.*96 ?%.*\+63", told)
    assert "exact" not in text(summarize({"form": rose, "exact": rose}, seed=0), language=language)


def test_a_no_gives_every_reason():
    found = summary(base=20, tuned=80, others={"json": {"base": 99, "tuned": 50}})
    kept = forgetting(
        finding("forgotten", probe="arc_easy", change=(-0.06, -0.10, -0.055)),
        finding(
            "forgotten",
            probe="wikitext",
            measure="perplexity",
            change=(0.54, 0.48, 0.6),
            margin=0.1,
        ),
        finding("kept", probe="copa"),
    )
    told = text(found, kept)
    assert told.startswith(
        "No. Skill: no, although +60 points over the base. Elsewhere: lost. 80 % of answers now "
        "pass `label` (base 20 %; difference +60 points"
    )
    assert "But `json` fell from 99 % (base) to 50 % (−49 points, 95 % interval −" in told
    assert (
        "It forgot: accuracy on `arc_easy` went from 60 % to 54 % (−6 points, 95 % interval −10 to "
        "−6; allowed 5 points); the perplexity of `wikitext` changed by +54 % (95 % interval "
        "+48 % to +60 %; allowed 10 %)." in told
    )
    assert "copa" not in told


def test_what_cannot_be_told_of_forgetting_names_rows_that_one_can_gather():
    kept = forgetting(finding("unclear", change=(-0.04, -0.08, 0.0), rows_needed=1900))
    told = text(summary(base=20, tuned=80), kept)
    assert (
        "allowed 5 points), about 1,900 rows would be enough; a probe of more rows would tell. It"
        in told
    )
    many = forgetting(finding("unclear", change=(-0.04, -0.08, 0.0), rows_needed=36_000))
    assert "rows would be enough" not in text(summary(base=20, tuned=80), many)


def test_without_checks_or_arms_it_says_so():
    assert text(Summary((), 0.95), forgetting()) == "No purpose stated: loss only."
    alone = text(summary(tuned=80))
    assert alone == (
        "Cannot tell. Skill: cannot tell, as there is nothing to compare with. Elsewhere: not "
        "measured. 80 % of answers now pass."
    )


def test_a_check_without_scores_is_told_and_an_arm_without_them_is_left_out():
    assert text(summary(tuned=None, base=10)).startswith(
        "Cannot tell. Skill: cannot tell, as no answer could be scored by `label`."
    )
    told = text(summary(base=3, prompted=None, tuned=91))
    assert " Elsewhere: not measured. 91 % of answers now pass (base 3 %; difference +88" in told


def test_graded_scores_are_means_and_not_shares_of_answers():
    scores = {"rouge": {"base": [0.1, 0.2] * 20, "tuned": [0.5, 0.7] * 20}}
    assert " `rouge` is now 60 % on average (base" in text(summarize(scores, seed=0))


def test_no_difference_is_rounded_to_none_and_no_share_to_all():
    rows = 2000
    base, tuned = arm(1991, rows), arm(1999, rows)
    told = text(summarize({"a": {"base": base, "tuned": tuned}}, seed=0))
    assert told.startswith("Yes. Skill: yes, +0.4 points over the base. ")
    assert (
        "99.9 % of answers now pass (base 99.6 %; difference +0.4 points, 95 % interval +0.2 "
        "to +0.8)." in told
    )


@pytest.mark.parametrize(
    ("saved", "ending"),
    [
        (1, "1 token shorter than one to the base with your prompt."),
        (-3, "3 tokens longer than one to the base with your prompt."),
        (0, "+57)."),
    ],
)
def test_tokens_are_counted_against_the_arm_that_the_gain_is_over(saved, ending):
    tokens = {"base": 50.0, "prompted": 100.0, "tuned": 100.0 - saved}
    found = summary(base=3, prompted=44, tuned=91)
    assert text(found, forgetting(), tokens=tokens).endswith(ending)


def test_four_arms_and_an_arm_without_a_phrase():
    told = text(summary(base=3, prompted=44, examples=50, mine=10, tuned=91))
    assert "base with examples in the prompt 50 %, mine 10 %; difference to the best one" in told


def phrases(language):
    def walk(node, path):
        if isinstance(node, str):
            yield path, set(re.findall(r"\{(\w+)\}", node))
        else:
            for key, below in node.items():
                assert isinstance(key, str), f"{path}.{key} is no text in YAML"
                yield from walk(below, path if key in ("one", "other") else f"{path}.{key}")

    found = {}
    for path, values in walk(words_in(language).phrases, ""):
        found.setdefault(path, set()).update(values)
    return found


@pytest.mark.parametrize("language", languages(PHRASES))
def test_every_language_has_the_same_phrases_with_the_same_values(language):
    assert phrases(language) == phrases("en")


def test_a_language_without_phrases_is_refused():
    with pytest.raises(ValueError, match="only in en, ko"):
        verdict_text(decide(summary(base=1, tuned=2)), language="fr")
