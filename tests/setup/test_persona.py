"""Checks and a system prompt of a persona: proposed where the answers support them, only there."""

import json

import pytest

from tunesmith.config import load_run_config
from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.setup.proposals import propose

INSERTED = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
GOODS = ["머그컵", "에코백", "스티커", "엽서", "인형", "노트", "볼펜", "키링", "양말", "쿠션"]
ENDS = ["있어요.", "도착해요!", "드릴게요~", "좋죠.", "가능해요 😊"]
HAEYO = [f"{good} {i % 7 + 1}개는 {ENDS[i % 5]}" for i, good in enumerate(GOODS * 2)]
HAMNIDA = [f"{good} {i % 7 + 1}개가 준비되어 있습니다." for i, good in enumerate(GOODS)]
HAMNIDA += [f"{good} 말씀이십니까?" for good in GOODS]
INTRODUCED = ["저는 토끼상점의 모모예요!", "안녕하세요, 모모예요."]


def rows(answers, system=None):
    first = () if system is None else (Message("system", system),)
    return [
        Conversation((*first, Message("user", f"q{i}"), Message("assistant", answer)), "f", i)
        for i, answer in enumerate(answers, start=1)
    ]


def checks_of(answers, **options):
    return [dict(each.check) for each in propose(rows(answers), **options).checks]


def by_kind(answers, **options):
    return {check["kind"]: check for check in checks_of(answers, **options)}


@pytest.mark.parametrize(
    ("answers", "endings"),
    [
        (HAEYO, ["요", "죠"]),
        ([*HAMNIDA, *HAEYO], ["요", "죠", "니다", "니까"]),
        ([*HAEYO * 2, "반말이야"], ["요", "죠"]),  # one slip of 41
        (["モモです。", "はい、そうします！", "ありません。", "どうぞ見てください"] * 5, None),
    ],
)
def test_the_narrowest_level_of_politeness_that_nearly_all_keep_to_is_proposed(answers, endings):
    found = by_kind([f"{text} " for text in answers]).get("ends_with")
    if endings is None:  # few different answers are labels
        assert found is None
    else:
        assert found["endings"] == endings


def test_a_share_of_casual_answers_is_no_politeness():
    casual = [
        f"{good} {('있어', '없다', '좋지', '뭐야', '글쎄')[i % 5]}" for i, good in enumerate(GOODS)
    ]
    assert "ends_with" not in by_kind([*HAEYO, *casual])


def test_the_name_is_a_check_where_nearly_every_answer_gives_it():
    answers = [f"모모가 알려 드려요: {text}" for text in [*HAEYO, *INTRODUCED]]
    assert checks_of(answers)[0] == {"kind": "contains", "name": "name", "texts": ["모모"]}
    assert "contains" not in by_kind([*HAEYO, *INTRODUCED])


def test_what_a_base_says_of_itself_is_forbidden_to_a_persona_alone():
    found = by_kind(HAEYO, inserted=INSERTED)["not_contains"]
    assert {"language model", "언어 모델", "SmolLM"} <= set(found["texts"])
    said = [*HAEYO, "저는 언어 모델이 아니에요."]
    assert "언어 모델" not in by_kind(said)["not_contains"]["texts"]
    english = [f"The {i}th word of it is number {i * 7}" for i in range(20)]
    assert "not_contains" not in by_kind(english, inserted=INSERTED)


@pytest.mark.parametrize(
    "answers",
    [
        [json.dumps({"a": i}) for i in range(20)],
        ["refund", "cancel"] * 10,
        [f"So {i}.\n#### {i}" for i in range(20)],
        HAEYO[:5],
    ],
)
def test_data_and_few_rows_have_no_persona(answers):
    found = propose(rows(answers), inserted=INSERTED)
    assert found.system is None
    assert not {each.check["kind"] for each in found.checks} & {"not_contains", "ends_with"}


@pytest.mark.parametrize("answers", [HAEYO, [*HAEYO, *INTRODUCED], [*HAEYO * 2, "반말이야"]])
def test_each_proposal_states_how_many_of_the_datas_own_answers_pass(answers):
    proposals = propose(rows(answers), inserted=INSERTED).checks
    values = {"data": {"train": "a"}, "evaluate": {"checks": [dict(p.check) for p in proposals]}}
    checks = build_checks(load_run_config(None, values).evaluate.checks)
    for check, proposal in zip(checks, proposals, strict=True):
        share = sum(check.score(text, text) == 1.0 for text in answers) / len(answers)
        assert proposal.score == pytest.approx(share)
        assert share >= 0.95
        assert f"{int(100 * share)} % of {len(answers)} answers pass" in proposal.remark


def test_a_system_prompt_is_proposed_from_name_language_and_politeness():
    assert propose(rows([*HAEYO, *INTRODUCED])).system == "당신은 모모입니다. 해요체로 답하세요."
    assert propose(rows(HAMNIDA)).system == "합니다체로 답하세요."
    named = [*(f"Word {i} is it, number {i * 7}" for i in range(15)), "I'm Momo.", "I am Momo!"]
    assert propose(rows(named)).system == "You are Momo."
    german = [
        f"Das ist schon die {i}. Antwort auf diese schöne Frage, glaube ich" for i in range(15)
    ]
    assert propose(rows(german)).system == "Answer in German."


def test_no_system_prompt_is_proposed_where_there_is_one_or_nothing_to_say():
    assert propose(rows(HAEYO), system="Be kind.").system is None
    assert propose(rows(HAEYO, system="Be kind.")).system is None
    assert propose(rows([f"Word {i} is it, number {i * 7}" for i in range(15)])).system is None


def remarks(answers, *, own=None, **options):
    return " ".join(propose(rows(answers, own), **options).remarks)


def test_a_system_prompt_is_compared_with_the_rows():
    answers = [*HAEYO, *INTRODUCED]
    assert "chat template says SmolLM" in remarks(answers, inserted=INSERTED)
    assert "data.system says Ada" in remarks(answers, system="You are Ada.", inserted=INSERTED)
    assert "data.system does not name it" in remarks(answers, system="Be kind.")
    assert remarks(answers, system="당신은 모모입니다.", inserted=INSERTED) == ""
    assert "data.system has no effect" in remarks(HAEYO, own="Be kind.", system="Be brief.")
    assert remarks(HAEYO, inserted=INSERTED) == ""
