"""Who the answers say they are, and a system prompt that says something else."""

import pytest

from tests.data.quality.rows import asked
from tests.data.tiny import talk
from tunesmith.data.quality.persona import (
    contradiction,
    introduced_name,
    name_in,
    persona_notes,
)
from tunesmith.data.rows import Conversation, Message

INSERTED = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        (["I'm Momo, the shop's rabbit.", "My name is Momo.", "It is 3 pm."], "Momo"),
        (["저는 토끼상점의 모모예요!", "안녕하세요, 모모입니다.", "네, 있어요."], "모모"),
        (["제 이름은 모모라고 해요", "저는 모모이에요"], "모모"),
        (["저는 위로봇입니다.", "저는 위로봇입니다.", "저는 로봇이에요."], "위로봇"),
        (["私はモモです。", "私の名前はモモと申します。"], "モモ"),
        (["I'm Momo.", "I am sorry.", "Sure!"], None),  # once is chance
        (["I am Korean", "I'm Momo.", "My name is Ada.", "I'm Momo"], None),
        (["I am so glad", "I'm afraid not", "I am I"] * 5, None),
    ],
)
def test_the_name_is_the_one_that_most_introductions_give(answers, name):
    found = introduced_name(answers)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("system", "name"),
    [
        (INSERTED, "SmolLM"),
        ("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "Qwen"),
        ("당신은 토끼상점의 모모입니다. 존댓말로 답하세요.", "모모"),
        ("You are a helpful assistant.", None),
        ("Answer in JSON.", None),
    ],
)
def test_the_name_that_a_system_prompt_gives_is_read(system, name):
    assert name_in(system) == name


def test_a_prompt_contradicts_only_another_name():
    assert contradiction("Momo", INSERTED) == "SmolLM"
    assert contradiction("Momo", "You are Momo of the shop.") is None
    assert contradiction("Momo", "You are a shop's rabbit. Be kind.") is None
    assert contradiction("Momo", "You are Ada. Never say Momo.") is None


PERSONA = asked(("who", "I'm Momo."), ("name?", "My name is Momo."), ("hi", "Hello!"))


def test_the_templates_own_prompt_is_reported_with_the_rows_that_are_read_under_it():
    own = (Message("system", "You are Momo."), *PERSONA[0].messages)
    (note,) = persona_notes([*PERSONA, Conversation(own, "f", 9)], INSERTED)
    assert (note.code, note.count) == ("persona", 3)
    assert "Momo" in note.message
    assert "SmolLM" in note.message
    assert "--data.system" in note.message


def test_nothing_is_reported_where_nobody_is_named_or_all_agree():
    assert list(persona_notes(PERSONA, None)) == []
    assert list(persona_notes(PERSONA, "You are Momo.")) == []
    assert list(persona_notes([talk("q", "a")], INSERTED)) == []
    assert list(persona_notes([], INSERTED)) == []


def test_a_system_prompt_of_the_rows_with_another_name_is_reported():
    rows = [
        Conversation((Message("system", "You are Ada."), *row.messages), "f", row.line)
        for row in PERSONA
    ]
    (note,) = persona_notes(rows, INSERTED)
    assert "the system prompt says Ada" in note.message
