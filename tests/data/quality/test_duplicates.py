import dataclasses

from tests.data.quality.rows import asked, found
from tests.data.tiny import talk
from tunesmith.data.quality.contradictions import Contradictions
from tunesmith.data.quality.duplicates import Duplicates
from tunesmith.data.quality.near_duplicates import NearDuplicates
from tunesmith.data.rows import Conversation, Message, ToolCall


def test_later_copies_are_found_case_and_white_space_aside():
    rows = asked(("Hi  there", "Yes"), ("bye", "no"), ("hi there", "yes\n"), ("HI THERE", "YES"))
    assert found(Duplicates(), rows) == [("duplicates", [2, 3])]


def test_another_answer_prompt_or_weight_is_another_row():
    row = talk("q", "a")
    light = dataclasses.replace(row, messages=(row.messages[0], Message("assistant", "a", 0.5)))
    others = [
        talk("q", "b"),
        talk("q!", "a"),
        talk("q", "a", system="s"),
        light,
        talk("q", "a", "q"),
    ]
    assert found(Duplicates(), [row, *others]) == []


def test_no_rows_have_no_duplicates():
    assert found(Duplicates(), []) == []


def call(city, **more):
    asks = Message("user", f"book a table in {more.pop('asked', 'town')} for me and my friends")
    calls = (ToolCall("book", {"city": city}),)
    answer = Message("assistant", "", tool_calls=calls, **more)
    return Conversation((asks, answer), "f", 1)


def test_calls_of_tools_are_what_is_answered():
    rows = [call("Rome"), call("Paris"), call("Rome", thinking="t"), call("Rome")]
    rows.append(dataclasses.replace(rows[0], tools=({"type": "function"},)))
    assert found(Duplicates(), rows) == [("duplicates", [3])]
    assert found(Contradictions(), rows[:2])[0][1] == [0, 1]
    assert found(Contradictions(), [rows[0], rows[3]]) == []


def test_questions_of_one_other_word_with_other_calls_are_no_near_copies():
    assert found(NearDuplicates(), [call("Rome", asked="Rome"), call("Paris", asked="Paris")]) == []
    again = [call("Rome", asked="town"), call("Rome", asked="town,")]
    assert found(NearDuplicates(), again) == [("near_duplicates", [1])]
