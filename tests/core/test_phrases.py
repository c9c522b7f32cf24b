"""Every language has the same phrases with the same values."""

import re
from importlib.resources import files

import pytest
import yaml

from tests.source import PACKAGE, SRC
from tunesmith.core.phrases import DEFAULT, Phrases, languages

PACKAGES = sorted(
    ".".join(path.relative_to(SRC).parts)
    for path in (SRC / PACKAGE).rglob("words")
    if path.is_dir()
)
VALUE = re.compile(r"\{(\w+)\}")
COUNTED = {"one", "other"}  # a language has those that its grammar needs


def phrases(package, language):
    """Dotted name -> the values of the phrase, of all forms of one that is counted together."""
    found = {}

    def walk(name, value):
        if isinstance(value, dict) and not value.keys() <= COUNTED:
            for key, each in value.items():
                walk(f"{name}.{key}", each)
        else:
            forms = value.values() if isinstance(value, dict) else [value]
            found[name] = {name for form in forms for name in VALUE.findall(str(form))}

    text = (files(package) / f"{language}.yaml").read_text(encoding="utf-8")
    walk("", yaml.safe_load(text))
    return found


OTHERS = [(p, language) for p in PACKAGES for language in languages(p) if language != DEFAULT]


@pytest.mark.parametrize(("package", "language"), OTHERS)
def test_every_language_has_the_same_phrases(package, language):
    own, english = phrases(package, language), phrases(package, DEFAULT)
    assert own.keys() == english.keys()
    more = {name: own[name] - english[name] for name in own if own[name] - english[name]}
    assert not more, "values that nobody gives"


def test_there_are_packages_with_phrases_in_korean():
    assert len(PACKAGES) >= 2
    assert {"ko"} <= {language for _, language in OTHERS}


def test_a_korean_phrase_has_the_particle_of_its_value():
    words = Phrases("tunesmith.evaluation.words", "ko")
    said = words.phrase("plain.passes.other", arm="원본", score="3")
    assert said.startswith("원본은 ")
