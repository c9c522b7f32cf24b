"""Published bases: each entry is whole, found by its names, and proposed where it fits."""

import pytest

from tests.source import ROOT
from tunesmith.core.errors import ModelError
from tunesmith.engine.families import FAMILIES, SUPPORTED
from tunesmith.models import hub_bases as known
from tunesmith.models import resolve
from tunesmith.models.catalog import known_names
from tunesmith.models.hub_bases import (
    bases_for,
    find_hub_base,
    is_published_for,
    published_languages,
)

GIGABYTE = 10**9


def test_names_are_different_and_dated():
    names = [base.name for base in known.hub_bases()]
    assert len({*names, *known_names()}) == len(names) + len(known_names())
    for base in known.hub_bases():
        assert base.name == base.name.lower()
        assert base.hub_id.count("/") == 1
        assert base.checked >= "2026"
        assert base.source
        assert 10**8 < base.parameters < 10**10


def test_a_base_is_found_by_short_name_and_hub_id():
    assert find_hub_base("Qwen3-0.6B") is find_hub_base("qwen/qwen3-0.6b")
    assert find_hub_base("nobody/else") is None


def test_published_languages_of_known_bases():
    assert published_languages("smollm2-135m-instruct") == ("en",)
    assert "ko" in published_languages("Qwen/Qwen3-1.7B")
    assert published_languages("folder") == ()


@pytest.mark.parametrize(
    ("model", "language", "answer"),
    [
        ("qwen2.5-0.5b-instruct", "ko", True),
        ("qwen2.5-0.5b-instruct", "tr", None),  # 13 of 29 are named
        ("llama-3.2-1b-instruct", "ko", False),
        ("smollm2-135m-instruct", "de", False),
        ("gemma-3-1b-it", "ko", None),
        ("some/folder", "en", None),
    ],
)
def test_a_publisher_names_a_language_or_others_or_nothing(model, language, answer):
    assert is_published_for(model, language) is answer


def test_only_bases_of_families_that_run_are_proposed():
    names = {base.name for base in bases_for("ko", families=FAMILIES, available=None)}
    assert "qwen3-0.6b" in names
    assert "exaone-4.0-1.2b" in names
    assert "kanana-1.5-2.1b-instruct" not in names  # whose family is not documented
    assert not bases_for("xx", families=FAMILIES, available=None)


@pytest.mark.parametrize(("gigabytes", "fits"), [(1, False), (3, True), (100, True)])
def test_the_first_one_fits_where_any_does(gigabytes, fits):
    for large_first in (False, True):
        first, *_ = bases_for(
            "ko", families=FAMILIES, available=gigabytes * GIGABYTE, large_first=large_first
        )
        assert first.fits(gigabytes * GIGABYTE) is fits


def test_a_fast_machine_gets_a_larger_one():
    def first(**options):
        return bases_for("ko", families=FAMILIES, available=100 * GIGABYTE, **options)[0]

    assert first(large_first=True).parameters > first().parameters


def test_a_short_name_is_fetched_by_its_hub_id(monkeypatch, tmp_path):
    asked = []

    def snapshot(name, **_):
        asked.append(name)
        raise ConnectionError("no route")

    monkeypatch.setattr(resolve, "snapshot_download", snapshot)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelError,
        match=r"qwen3-0\.6b is Qwen/Qwen3-0\.6B on the hub, and .* no route.*hf download Qwen",
    ):
        resolve.resolve("qwen3-0.6b")
    assert asked == ["Qwen/Qwen3-0.6B"]
    with pytest.raises(ModelError, match="consent to the licence"):
        resolve.resolve("llama-3.2-1b-instruct")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("qwen2.5-7b", "qwen2.5-0.5b-instruct"),
        ("qwen3", "qwen3-0.6b"),
        ("llama3.2-1b", "llama-3.2-1b-instruct"),
        ("smolm2", "smollm2-135m-instruct"),
    ],
)
def test_a_name_that_is_not_known_gets_the_nearest(name, near):
    with pytest.raises(ModelError, match=f"Did you mean `{near}`"):
        resolve.resolve(name)


def test_the_page_lists_every_base():
    page = (ROOT / "docs" / "languages.md").read_text(encoding="utf-8")
    for base in known.hub_bases():
        runs = (
            "yes" if base.family in SUPPORTED else "not checked" if not base.family else "not yet"
        )
        start = f"| `{base.name}` | {base.hub_id} | {base.weight_bytes / 1e9:.1f} GB | {runs} |"
        assert any(line.startswith(start) and base.licence in line for line in page.splitlines()), (
            start
        )
