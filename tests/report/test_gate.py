"""What a build reads of verdicts: status, JUnit, annotations and card agree, whatever they say."""

import itertools
from xml.etree import ElementTree as ET

import pytest

from tunesmith.report.gate import (
    CANNOT_TELL,
    NO,
    annotations,
    card,
    error_xml,
    exit_status,
    junit_xml,
)

ANSWERS = ("yes", "no", "cannot-tell")
ODD = 'fell | to <b>1 %</b>\x00\x1b[31m\r\nnext: ]]> & "quoted" 한국어 😊'

# Elements of junit-10.xsd that we write: their attributes (those with ! must be there), and what
# may be in them.
SCHEMA = {
    "testsuites": ("name", {"testsuite"}),
    "testsuite": ("name! tests! failures! errors!", {"testcase"}),
    "testcase": ("name! classname", {"failure", "error", "skipped", "system-out"}),
    "failure": ("type message", set()),
    "error": ("type message", set()),
    "skipped": ("type message", set()),
    "system-out": ("", set()),
}


def follows_the_schema(element):
    attributes, inside = SCHEMA[element.tag]
    names = attributes.split()
    assert element.attrib.keys() <= {name.rstrip("!") for name in names}
    assert {name[:-1] for name in names if name.endswith("!")} <= element.attrib.keys()
    for child in element:
        assert child.tag in inside, f"{child.tag} in {element.tag}"
        follows_the_schema(child)


def evaluation(answer, against=None, text=ODD):
    probe = {"difference": -0.031, "low": -0.06, "high": 0.0}
    score = {"score": 0.5, "low": 0.4, "high": 0.6, "n": 40}
    return {
        "verdict": {"answer": answer, "text": text, "goal": "One | word", "check": "ex|act"},
        "arms": {
            "base": {"checks": {"ex|act": {**score, "score": None}}},
            "tuned": {"checks": {"ex|act": score}},
        },
        "forgetting": [
            {"probe": "arc", "outcome": outcome, **probe} for outcome in ("kept", "absent")
        ],
        **({"against": {"run": "runs/old", "answer": against, "text": "so"}} if against else {}),
    }


CASES = [
    *({"one": evaluation(answer)} for answer in ANSWERS),
    *({"one": evaluation(*pair)} for pair in itertools.product(ANSWERS, ANSWERS)),
    {"one": evaluation("yes"), "two": evaluation("no"), "three": evaluation("cannot-tell")},
    {'a/b <&"> \x07': None},
]


@pytest.mark.parametrize("requirement", ["yes", "not-no"])
@pytest.mark.parametrize("found", CASES)
def test_junit_fails_exactly_where_the_status_does(found, requirement):
    suites = ET.fromstring(junit_xml(found, requirement, language="en"))
    follows_the_schema(suites)
    failures = suites.findall(".//failure")
    assert bool(failures) == bool(exit_status(found, requirement))
    assert len(suites) == len(found)
    for suite in suites:
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))


@pytest.mark.parametrize(
    ("answers", "requirement", "status"),
    [
        (("yes",), "yes", 0),
        (("yes", "cannot-tell"), "yes", CANNOT_TELL),
        (("yes", "cannot-tell"), "not-no", 0),
        (("no", "cannot-tell"), "yes", NO),
        (("no",), "not-no", NO),
        ((None,), "yes", CANNOT_TELL),
        ((None,), "not-no", 0),
        ((), "yes", 0),
    ],
)
def test_every_run_must_meet_the_requirement_and_no_comes_before_cannot_tell(
    answers, requirement, status
):
    found = {str(i): answer and evaluation(answer) for i, answer in enumerate(answers)}
    assert exit_status(found, requirement) == status


def test_a_run_that_is_worse_than_the_earlier_one_fails_whatever_its_own_verdict():
    assert exit_status({"run": evaluation("yes", "no")}, "not-no") == NO
    assert exit_status({"run": evaluation("yes", "cannot-tell")}, "not-no") == 0
    assert exit_status({"run": evaluation("yes", "cannot-tell")}, "yes") == CANNOT_TELL


def test_an_error_is_a_test_that_did_not_end():
    suites = ET.fromstring(error_xml(ODD))
    follows_the_schema(suites)
    assert suites.find("testsuite/testcase/error").get("message").startswith("fell |")
    assert suites.find("testsuite").get("errors") == "1"


def test_a_run_of_a_comparison_that_failed_is_an_error():
    found = {"lora": {"error": "no room | left"}, "full": evaluation("yes")}
    text = junit_xml(found, "not-no", language="en")
    suites = ET.fromstring(text)
    assert [suite.get("errors") for suite in suites] == ["1", "0"]
    assert suites[0].find("testcase/error").get("message") == "no room | left"
    assert "no room \\| left" in card(found, language="en")
    assert next(annotations(found, language="en")).startswith("::error title=lora%3A error::")


def test_annotations_are_one_line_each_and_cannot_be_broken_out_of():
    lines = list(annotations({"a:b,c\n": evaluation("no", "yes")}, language="en"))
    assert [line.split(" ")[0] for line in lines] == ["::error", "::notice"]
    assert not [line for line in lines if "\n" in line or "\r" in line]
    assert lines[0].startswith("::error title=a%3Ab%2Cc%0A%3A no::fell | to <b>1 %25</b>")


def test_the_card_holds_its_table_together():
    text = card({"runs/mine": evaluation("no")}, language="en")
    assert text.startswith("### ❌ One \\| word")
    assert "| **tuned** | 50 % (40 % – 60 %) |" in text
    assert "<b>" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables[:3]} == {3}
    assert "| `arc` | −3.1 (−6.0 – +0.0) | kept |" in text


def test_the_card_is_in_korean():
    text = card({"runs/mine": evaluation("cannot-tell", text="")}, language="ko")
    assert "튜닝" in text
