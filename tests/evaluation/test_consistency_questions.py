"""Asking again: repeatable draws, rounds that stop in time, and what a user wrote."""

import itertools
import json

import pytest

from tests.counting import Counting
from tests.runs.tiny import LETTERS
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.checks import ExactSettings
from tunesmith.config.evaluate import ConsistencySettings, EvaluateSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import Cancelled
from tunesmith.data.faults import FaultyData
from tunesmith.data.rows import Message
from tunesmith.evaluation import answering, consistency_questions
from tunesmith.evaluation.answering import UNKNOWN_BASE, DrawRequest, answers_to
from tunesmith.evaluation.answers import Question
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.consistency_questions import (
    AskedArm,
    ConsistencyRun,
    Drawing,
    again,
    draw_again,
)
from tunesmith.generation.sampling import Sampling

QUESTIONS = [Question((Message("user", f"Say {a} {b}?"),), a) for a in LETTERS for b in "xy"]
SETTINGS = ConsistencySettings(samples=3, rows=6, paraphrases=2)


@pytest.fixture(scope="module")
def loaded(talking):
    return open_base(str(talking), dtype="float32")


def draw(loaded, settings=SETTINGS, *, questions=QUESTIONS, seed=0, seconds=1e9, **more):
    asked = again(questions, settings)
    settings_of_draw = Drawing(6, seconds, seed, now=more.pop("now", lambda: 0.0))
    return draw_again(loaded, asked, settings, arm=AskedArm(), draw=settings_of_draw, **more)


def test_questions_are_spread_evenly_and_stand_in_front_of_their_wordings():
    asked = again(QUESTIONS, SETTINGS)
    assert [group[0] for group in asked] == [QUESTIONS[i * 16 // 6] for i in range(6)]
    for first, *others in asked:
        assert len(others) == 2
        assert all(other.reference == first.reference for other in others)
        assert len({first.text, *(other.text for other in others)}) == 3


def test_what_comes_before_a_question_stays(loaded):
    said = (Message("system", "s"), Message("user", "a?"), Message("assistant", "b"))
    question = Question((*said, Message("user", "And c?")), "x")
    for each in again([question], SETTINGS)[0]:
        assert each.messages[:3] == said


def test_the_same_seed_draws_the_same_whatever_is_asked_beside_it(loaded, monkeypatch):
    first = draw(loaded)
    assert draw(loaded) == first
    monkeypatch.setattr(consistency_questions, "ROUND", 2)
    assert draw(loaded) == first
    assert draw(loaded, seed=1).samples != first.samples
    assert draw(loaded, seed=1).wordings == first.wordings


def test_an_answer_has_the_room_that_its_prompt_leaves_in_the_context(loaded, monkeypatch):
    prompts, real = [], answering.generate

    def generate(engine, given, **options):
        prompts.extend(given)
        return real(engine, given, **options)

    monkeypatch.setattr(answering, "generate", generate)
    asked = [DrawRequest((Message("user", text),)) for text in ("hello", "hello hello")]
    answers_to(loaded, asked, who=UNKNOWN_BASE, sampling=Sampling(max_new_tokens=3), seed=0)
    assert [len(each.ids) + each.limit for each in prompts] == [loaded.base.context] * 2


def test_samples_of_a_question_differ_and_wordings_are_greedy(loaded):
    found = draw(loaded, ConsistencySettings(samples=8, temperature=2.0, rows=3, paraphrases=1))
    assert any(len(set(group)) > 1 for group in found.samples)
    again_greedy = draw(loaded, ConsistencySettings(samples=0, rows=3, paraphrases=1))
    assert again_greedy.wordings == found.wordings
    assert again_greedy.samples == ((), (), ())


def test_time_ends_it_after_whole_rounds_and_never_before_the_first(loaded, monkeypatch):
    monkeypatch.setattr(consistency_questions, "ROUND", 2)
    whole = draw(loaded)
    ticks = itertools.count()
    some = draw(loaded, seconds=1.5, now=lambda: float(next(ticks)))
    assert some.samples == whole.samples[:4]
    none = draw(loaded, seconds=0.0)
    assert none.samples == whole.samples[:2]


def test_it_is_cancelled_between_two_rounds(loaded, monkeypatch):
    monkeypatch.setattr(consistency_questions, "ROUND", 2)
    phase = Counting(limit=2)
    with pytest.raises(Cancelled):
        draw(loaded, phase=phase)
    assert phase.told == [(2, 6), (4, 6)]


def evaluate(**changes):
    values = {"samples": 3, "rows": 6, "paraphrases": 2, **changes}
    return EvaluateSettings(checks=(ExactSettings(),), max_new_tokens=6, consistency=values)


def test_two_arms_from_questions_to_the_document(loaded):
    settings = evaluate()
    asking = ConsistencyRun(QUESTIONS, settings, seed=0)
    drawn = {
        "base": asking.draw(loaded, AskedArm()),
        "tuned": asking.draw(loaded, AskedArm(prepare=lambda m: (Message("system", "z"), *m))),
    }
    found = asking.assess(drawn, build_checks(settings.checks)).to_json()
    assert json.loads(json.dumps(found)) == found
    for way in ("samples", "paraphrases"):
        assert found[way]["questions"] == 6
        assert set(found[way]["arms"]) == {"base", "tuned"}
        assert set(found[way]["arms"]["base"]) == {"passes", "form", "label", "length_spread"}
        assert set(found[way]["differences"]) == {"base"}
    assert found["samples"]["times"] == found["paraphrases"]["wordings"] == 3
    assert found["notes"] == []


def test_equal_arms_differ_in_nothing(loaded):
    asking = ConsistencyRun(QUESTIONS, evaluate(), seed=0)
    drawn = {"base": asking.draw(loaded, AskedArm()), "tuned": asking.draw(loaded, AskedArm())}
    found = asking.assess(drawn, build_checks(evaluate().checks))
    for change in found.samples.differences["base"].values():
        assert change.mean == 0


def test_wordings_of_a_file_come_first_and_those_that_fit_no_question_are_told(loaded, tmp_path):
    path = tmp_path / "words.jsonl"
    rows = [
        {"query": "say A X?", "paraphrases": ["Mine one", "Mine two"]},
        {"query": "never asked", "paraphrases": ["x"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asking = ConsistencyRun(QUESTIONS, evaluate(paraphrases_from=str(path)), seed=0)
    texts = [each.text for each in asking.asked[0]]
    assert texts[:3] == ["Say a x?", "Mine one", "Mine two"]
    assert len(texts) == 5
    drawn = {"base": asking.draw(loaded, AskedArm())}
    assert asking.assess(drawn, []).notes == (f"1 question of {path} not asked",)


def test_faults_of_a_file_are_all_told(loaded, tmp_path):
    path = tmp_path / "words.jsonl"
    path.write_text('{"query": "a", "paraphrases": "b"}\n{"paraphrases": []}\n')
    with pytest.raises(FaultyData) as caught:
        ConsistencyRun(QUESTIONS, evaluate(paraphrases_from=str(path)), seed=0)
    text = str(caught.value)
    assert f'{path}:1: "paraphrases" must be a list of texts' in text
    assert f'{path}:2: "query" is missing; "paraphrases" ' in text


def test_questions_out_of_time_are_told(loaded, monkeypatch):
    monkeypatch.setattr(consistency_questions, "ROUND", 2)
    asking = ConsistencyRun(QUESTIONS, evaluate(minutes=1e-9), seed=0)
    drawn = {"base": asking.draw(loaded, AskedArm())}
    assert asking.assess(drawn, []).notes == (
        "time was up after 2 questions of 6 (evaluate.consistency.minutes)",
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"samples": 1}, "one sample agrees with nothing"),
        ({"samples": 0, "paraphrases": 0}, "nothing is asked again"),
    ],
)
def test_settings_without_effect_are_refused(values, why):
    with pytest.raises(ConfigError, match=why):
        ConsistencySettings(**values)


def test_none_turns_it_off(loaded):
    settings = EvaluateSettings(consistency="none")
    assert settings.consistency is None
    assert EvaluateSettings(consistency="default").consistency == ConsistencySettings()
    with pytest.raises(ValueError, match="is none"):
        ConsistencyRun(QUESTIONS, settings, seed=0)
