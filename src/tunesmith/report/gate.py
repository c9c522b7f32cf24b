"""What a build server reads of verdicts: an exit status, JUnit, annotations, a card in Markdown.

JUnit's elements are those of Jenkins' schema (junit-10.xsd), which GitLab and the readers for
GitHub take too.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from xml.etree import ElementTree as ET

from tunesmith.core.language import localized
from tunesmith.core.numbers import limits_text, percent, points
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.findings import text_in, words_in
from tunesmith.evaluation.plain_verdict import plain_text

Document = Mapping[str, Any]
Evaluations = Mapping[str, Document | None]
"""Evaluate documents by the run's name; the `error` alone of a run that failed, None where one has
no verdict.
"""

Requirement = Literal["yes", "not-no"]
NO, CANNOT_TELL = 3, 4
STATUS = {"yes": 0, "no": NO, "cannot-tell": CANNOT_TELL}
KEEPS = {"yes": {"yes"}, "not-no": {"yes", "cannot-tell"}}
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MARK = {"yes": "\u2705", "no": "\u274c", "cannot-tell": "\u2754"}
LEVEL = {"yes": "notice", "no": "error", "cannot-tell": "warning"}


def exit_status(evaluations: Evaluations, requirement: Requirement) -> int:
    """0 where every run's answers meet the requirement, else `NO` before `CANNOT_TELL`."""
    answers = {
        answer
        for document in evaluations.values()
        for answer in _answers(document).values()
        if answer not in KEEPS[requirement]
    }
    return min((STATUS[answer] for answer in answers), default=0)


def _answers(document: Document | None) -> dict[str, str]:
    """The answers that a requirement is about: the verdict's, and that over an earlier run."""
    document = document or {}
    found = {"verdict": (document.get("verdict") or {}).get("answer", "cannot-tell")}
    if document.get("against"):
        found["against"] = document["against"]["answer"]
    return found


def junit_xml(evaluations: Evaluations, requirement: Requirement, *, language: str) -> str:
    """A suite for each run; its tests fail exactly where `exit_status` is not 0."""
    suites = ET.Element("testsuites", name="tunesmith")
    for run, document in evaluations.items():
        suite = ET.SubElement(suites, "testsuite", name=_printable(run))
        for name, answer in _answers(document).items():
            test = ET.SubElement(suite, "testcase", classname=_printable(run), name=name)
            text = _printable(text_of(document, name, language))
            if _failed(document):
                ET.SubElement(test, "error", type="error", message=text)
            elif answer in KEEPS[requirement]:
                ET.SubElement(test, "system-out").text = text
            else:
                failure = ET.SubElement(test, "failure", type=answer, message=text)
                failure.text = text
        _probes(suite, run, document or {})
        tests = suite.findall("testcase")
        for kind in ("failure", "error"):
            suite.set(f"{kind}s", str(len(suite.findall(f"testcase/{kind}"))))
        suite.set("tests", str(len(tests)))
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def error_xml(message: str) -> str:
    """JUnit of a command that ended in an error, before there was a verdict."""
    suites = ET.Element("testsuites", name="tunesmith")
    suite = ET.SubElement(suites, "testsuite", name="tunesmith", tests="1", failures="0")
    suite.set("errors", "1")
    test = ET.SubElement(suite, "testcase", classname="tunesmith", name="verdict")
    ET.SubElement(test, "error", type="error", message=_printable(message))
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _probes(suite: ET.Element, run: str, document: Document) -> None:
    """What may be lost elsewhere, a test each; the verdict says what follows from it."""
    for probe in document.get("forgetting") or ():
        name = f"elsewhere: {probe['probe']}"
        test = ET.SubElement(suite, "testcase", classname=_printable(run), name=_printable(name))
        if probe["outcome"] == "absent":
            ET.SubElement(test, "skipped", message="the base hardly has this ability")
        else:
            ET.SubElement(test, "system-out").text = f"{probe['outcome']}: {_change(probe)}"


def _change(probe: Document) -> str:
    return f"{points(probe['difference'])} ({limits_text(probe['low'], probe['high'], points)})"


def text_of(document: Document | None, name: str, language: str) -> str:
    """What an answer rests on, or why there is none."""
    if _failed(document):
        return str((document or {})["error"])
    part = (document or {}).get(name)
    return text_in(part, language) or localized("No purpose stated: loss only.", language)


def _failed(document: Document | None) -> bool:
    return "error" in (document or {})


def _printable(text: str) -> str:
    """Without the characters that XML has no place for, and no page either."""
    return UNPRINTABLE.sub("\N{SYMBOL FOR ESCAPE}", text)


def annotations(evaluations: Evaluations, *, language: str) -> Iterator[str]:
    """A line of GitHub's workflow commands for each answer."""
    for run, document in evaluations.items():
        for name, answer in _answers(document).items():
            text = text_of(document, name, language)
            level, what = ("error", "error") if _failed(document) else (LEVEL[answer], answer)
            yield f"::{level} title={_property(f'{run}: {what}')}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def card(evaluations: Evaluations, *, language: str) -> str:
    """A part of a pull request's page for each run: the verdict, the scores, what was lost."""
    return "\n".join(line for item in evaluations.items() for line in _card(*item, language))


def error_card(message: str) -> str:
    """The same of a command that ended before there was a verdict."""
    return f"### {localized('No verdict')}\n\n{_cell(message)}\n"


def _card(run: str, document: Document | None, language: str) -> Iterator[str]:
    if _failed(document):
        yield f"### {MARK['no']} {_cell(run)}\n\n{_cell(text_of(document, '', language))}\n"
        return
    answers, document = _answers(document), document or {}
    verdict = document.get("verdict") or {}
    yield f"### {MARK[answers['verdict']]} {_cell(verdict.get('goal') or run)}\n"
    if plain := plain_text(document, words_in(language)):
        yield f"{_cell(plain)}\n"
    for name in answers:
        yield f"**{_cell(name)}**: {_cell(text_of(document, name, language))}\n"
    yield from _scores(document.get("arms") or {}, language)
    yield from _lost(document.get("forgetting") or (), language)
    yield f"`{_cell(run)}`\n"


def _scores(arms: Document, language: str) -> Iterator[str]:
    checks = dict.fromkeys(name for arm in arms.values() for name in arm["checks"])
    if not checks:
        return
    yield _row([localized("arm", language), *checks])
    yield _row(["---"] * (1 + len(checks)))
    for arm, each in arms.items():
        scores = [_score(each["checks"].get(name) or {}) for name in checks]
        shown = localized(arm, language)
        yield _row([f"**{shown}**" if arm == TUNED else shown, *scores])
    yield ""


def _score(score: Document) -> str:
    if score.get("score") is None:
        return "-"
    return f"{percent(score['score'])} ({limits_text(score['low'], score['high'])})"


def _lost(probes: Any, language: str) -> Iterator[str]:
    if not probes:
        return
    yield _row([localized(title, language) for title in ("probe", "change", "outcome")])
    yield _row(["---"] * 3)
    for probe in probes:
        outcome = localized(probe["outcome"], language)
        yield _row([f"`{probe['probe']}`", _change(probe), outcome])
    yield ""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    """In one line, without what Markdown or HTML would make of it."""
    return " ".join(_printable(text).split()).replace("|", "\\|").replace("<", "&lt;")
