"""The catalog knows its names, forgives typos and says what is here."""

import subprocess
import sys

import pytest

from tunesmith.models import catalog

NAME = "smollm2-135m-instruct"


def test_listing_says_what_is_cached(home):
    (before,) = catalog.list_models()
    assert (before.name, before.licence, before.cached) == (NAME, "Apache-2.0", False)
    before.folder.mkdir(parents=True)
    (before.folder / "f").write_bytes(b"12345")
    (after,) = catalog.list_models()
    assert (after.cached, after.bytes) == (True, 5)
    assert home in after.folder.parents


@pytest.mark.parametrize(
    "typo",
    ["smolm2", "smollm", "smollm2-135m", "SmolLM2-135M-Instuct", "org/smollm2-135m-instruct"],
)
def test_typo_is_near_its_name(typo):
    assert catalog.nearest_name(typo) == NAME


def test_other_words_are_near_nothing():
    for name in ("bert", "llama", "mistral", "qwen2", "runs", ""):
        assert catalog.nearest_name(name) is None


def test_folder_changes_with_content_and_with_conversion(home, monkeypatch):
    first = catalog.converted_folder("m", sha256="1")
    assert catalog.converted_folder("m", sha256="2") != first
    monkeypatch.setattr(catalog, "CONVERSION", catalog.CONVERSION + 1)
    assert catalog.converted_folder("m", sha256="1") != first


def test_catalog_is_listed_without_heavy_libraries():
    code = (
        "import sys, tunesmith.models.catalog; print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
