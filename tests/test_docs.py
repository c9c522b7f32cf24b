"""The README's commands exist, with the flags that it shows, and so do the files that it names."""

import re
import shlex
from pathlib import Path

import pytest

from tunesmith.cli.main import main
from tunesmith.config import parse_overrides

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/README.ko.md")


def commands(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(tunesmith [^`]+)`", text)
    return [line for line in [*lines, *inline] if line.startswith("tunesmith ")]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_exists(page, capsys):
    shown = commands(page)
    assert len(shown) > 5
    for command in shown:
        words = shlex.split(command)[1:]
        depth = 2 if words[0] in {"data", "model", "runs"} else 1
        assert main([*words[:depth], "--help"]) == 0, command
        flags = [w for w in words[depth:] if w.startswith("--") and "." in w]
        assert parse_overrides(flags and words[depth:]) is not None


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        assert ((ROOT / page).parent / link).exists(), link


def test_make_has_the_targets_that_the_readme_names():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"make ([a-z-]+)", text)) <= set(targets)
