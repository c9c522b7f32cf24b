from tests.data.quality.rows import found
from tests.data.tiny import talk
from tunesmith.data.quality.distribution import SystemPrompts
from tunesmith.data.quality.text import see


def under(*systems):
    return [talk(f"q{i}", "a", system=system, line=i + 1) for i, system in enumerate(systems)]


def told(rows, held=()):
    observer = SystemPrompts()
    for row in held:
        observer.hold(see(row))
    for row in rows:
        observer.observe(see(row))
    return [finding.message for finding in observer.findings()]


def test_rows_under_another_prompt_than_most_are_told():
    assert found(SystemPrompts(), under(*["Be kind."] * 9, "Be rude.")) == [("system_prompt", [9])]
    assert found(SystemPrompts(), under(*["Be kind."] * 9, None)) == [("system_prompt", [9])]


def test_one_prompt_is_no_finding_case_and_white_space_aside():
    assert found(SystemPrompts(), under("Be  kind.", "be kind.", "Be kind.")) == []
    assert found(SystemPrompts(), under(None, None)) == []


def test_prompts_that_carry_what_the_row_is_about_may_differ():
    assert found(SystemPrompts(), under(*(f"The customer is {i}." for i in range(20)))) == []


def test_a_prompt_that_differs_where_the_model_is_asked_is_told():
    kind, rude = under(*["Be kind."] * 5), under("Be rude.")
    assert told(kind, held=kind) == []
    assert "under one that no training row has" in told(kind, held=rude)[0]
    assert "without any" in told(kind, held=under(None))[0]
