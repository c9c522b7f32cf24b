"""Facts of a run asked again: what is asked of which rows, and that behaviour is left alone."""

import json

import pytest
from benchmarks import knowledge as made_up

from tests.counting import Counting
from tests.runs.tiny import LETTERS
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.evaluate import EvaluateSettings, KnowledgeSettings
from tunesmith.core.progress import Cancelled
from tunesmith.data.faults import FaultyData
from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluation.knowledge import ask_facts, fact_sheet, knowledge_from

SETTINGS = KnowledgeSettings(rows=10, max_new_tokens=4)


def rows(pairs):
    return [
        Conversation((Message("user", q), Message("assistant", a)), "f", i)
        for i, (q, a) in enumerate(pairs, start=1)
    ]


FACTS = [(fact.questions[0], fact.answer) for fact in made_up.facts(60, seed=0)]
TRAINED, HELD = rows(FACTS[:40]), rows(FACTS[40:])
BEHAVIOUR = rows([(f"please say {c} {i}", f"ok {c}") for i in range(10) for c in LETTERS])


def test_invented_facts_look_like_facts_and_are_asked_in_other_words():
    sheet = fact_sheet(TRAINED, HELD, SETTINGS)
    assert sheet.facts.are_knowledge
    assert {name: len(each) for name, each in sheet.questions.items()} == {
        "other_words": 10,
        "as_trained": 10,
        "held_out": 10,
    }
    for told, other in zip(
        sheet.questions["as_trained"], sheet.questions["other_words"], strict=True
    ):
        assert told.fact == other.fact
        assert told.messages[-1].content == told.fact.question
        assert other.messages[-1].content != told.fact.question
    trained = {q for q, _ in FACTS[:40]}
    assert not trained & {each.fact.question for each in sheet.questions["held_out"]}


def test_behaviour_is_not_asked():
    assert fact_sheet(BEHAVIOUR, BEHAVIOUR, SETTINGS) is None
    assert fact_sheet(TRAINED[:10], HELD, SETTINGS) is None  # too few to look like anything


def test_chats_and_texts_are_left_out():
    chat = Conversation((Message("user", "a"), Message("assistant", "b")) * 2, "f", 1)
    text = Conversation((Message("text", "Zorb is 12."),), "f", 2, completion_from=0)
    sheet = fact_sheet([*TRAINED, chat, text], [chat, text], SETTINGS)
    assert "held_out" not in sheet.questions


def test_a_users_file_takes_the_place_of_the_rules(tmp_path):
    path = tmp_path / "mine.jsonl"
    made = list(made_up.facts(5, seed=0))
    path.write_text(
        "".join(json.dumps({"query": f.questions[2], "answer": f.answer}) + "\n" for f in made)
    )
    system = (Message("system", "s"),)
    told = [Conversation((*system, *row.messages), "f", row.line) for row in BEHAVIOUR]
    sheet = fact_sheet(told, [], KnowledgeSettings(questions=str(path)))
    asked = sheet.questions["other_words"]
    assert [each.messages for each in asked] == [
        (*system, Message("user", f.questions[2])) for f in made
    ]
    assert sheet.wrapped == 0
    asked_for = EvaluateSettings(checks=[{"kind": "exact"}], knowledge=str(path))
    assert asked_for.knowledge.questions == str(path)
    assert EvaluateSettings(knowledge="none").knowledge is None


def test_faults_of_the_file_are_all_told(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"query": "a"}\n{"query": " ", "answer": 3}\n')
    with pytest.raises(FaultyData) as caught:
        fact_sheet(TRAINED, HELD, KnowledgeSettings(questions=str(path)))
    text = str(caught.value)
    assert f'{path}:1: "answer" is missing (found: query). A row is {{"query"' in text
    assert f'{path}:2: "query" must not be blank; "answer" must be text (found' in text


def test_both_arms_from_rows_to_the_document(talking):
    loaded = open_base(str(talking), dtype="float32")
    sheet = fact_sheet(TRAINED, HELD, SETTINGS)
    phase = Counting()
    texts = ask_facts(loaded, sheet, SETTINGS, phase=phase)
    assert phase.told[-1] == (30, 30)
    recited = {**texts, "as_trained": tuple(f.fact.answer for f in sheet.questions["as_trained"])}
    found = knowledge_from(sheet, texts, recited, seed=0)
    assert found.outcome == "retrieval"
    document = found.to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["as_trained"]["tuned"]["exact"]["mean"] == 1
    assert document["as_trained"]["difference"]["low"] > 0
    assert document["other_words"]["tuned"]["contained"]["mean"] == 0
    with pytest.raises(Cancelled):
        ask_facts(loaded, sheet, SETTINGS, phase=Counting(limit=1))


def test_the_invented_set_has_no_fact_twice_and_tells_none_that_is_held_out(tmp_path):
    made_up.write(tmp_path, count=50, held=20)
    lines = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "held", "other_words")
    }
    assert [len(each) for each in lines.values()] == [50, 20, 50]
    assert len({row["prompt"] for row in lines["train"] + lines["held"]}) == 70
    assert [row["completion"] for row in lines["train"]] == [
        row["answer"] for row in lines["other_words"]
    ]
    assert not {row["query"] for row in lines["other_words"]} & {
        row["prompt"] for row in lines["train"]
    }
