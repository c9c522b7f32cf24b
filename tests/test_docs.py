"""What the pages say is so: commands exist and run, help reads like that, files are there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests import cli_page
from tests.source import project_files
from tunesmith.cli.main import main
from tunesmith.config import load_run_config, parse_overrides
from tunesmith.config.methods import method_notes

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/README.ko.md")
MORE_PAGES = (
    "docs/data-quality.md",
    "docs/distill.md",
    "docs/data.md",
    "docs/masks.md",
    "docs/combine.md",
    "docs/curve.md",
    "docs/search.md",
    "docs/evaluate.md",
    "docs/adapters.md",
    "docs/rag.md",
    "docs/serve.md",
    "docs/deploy.md",
    "examples/polite_ko/README.md",
    "examples/shop_ko/README.md",
)
ROWS = ROOT / "src" / "tunesmith" / "setup" / "demo_data" / "held.jsonl"
# Those that train nothing and wait for no one.
QUICK = (
    "data check",
    "data show",
    "data split",
    "doctor",
    "init",
    "methods",
    "model list",
    "runs list",
)


def commands(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(tunesmith [^`]+)`", text)
    return [line for line in [*lines, *inline] if line.startswith("tunesmith ")]


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES])
def test_every_command_that_a_page_shows_exists(page, capsys):
    shown = commands(page)
    assert len(shown) > (5 if page in PAGES else 3)
    for command in shown:
        words = shlex.split(command)[1:]
        depth = 2 if words[0] in {"adapters", "data", "model", "rag", "runs"} else 1
        assert main([*words[:depth], "--help"]) == 0, command
        dotted = [i for i, word in enumerate(words) if word.startswith("--") and "." in word]
        assert parse_overrides(words[dotted[0] :] if dotted else []) is not None


@pytest.mark.usefixtures("default_model_folder")
@pytest.mark.parametrize("page", PAGES)
def test_every_quick_command_that_a_page_shows_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROWS, "mine.jsonl")
    shown = [command.removeprefix("tunesmith ") for command in commands(page)]
    quick = [words for words in shown if words.startswith(QUICK) or "--help" in words]
    assert {"data check mine.jsonl", "init mine.jsonl"} <= set(quick)
    for words in quick:
        assert main(shlex.split(words)) == 0, words
    # What init wrote is what the page trains with.
    assert "train tunesmith.yaml" in shown
    assert load_run_config(Path("tunesmith.yaml"), {}).data.train == "mine.jsonl"


def test_the_page_of_commands_is_what_help_says():
    text = cli_page.PAGE.read_text(encoding="utf-8")
    assert text == cli_page.page(), "docs/cli.md is old: `make docs` writes it"


@pytest.mark.parametrize("width", ["40", "200"])
def test_the_page_of_commands_is_the_same_for_every_terminal(width, monkeypatch):
    before = cli_page.page()
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli_page.page() == before


def pages():
    """Every page of the project, by its path."""
    return [path for path in project_files() if path.suffix == ".md"]


def dead_links(page, text):
    """Links of a page to files that are not there, or to headings that the linked page lacks."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (
            anchor and anchor not in anchors(target.read_text(encoding="utf-8"))
        ):
            yield link


def anchors(text):
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {words.replace(" ", "-") for words in plain}


def test_no_page_has_a_dead_link():
    found = {page: list(dead_links(page, page.read_text(encoding="utf-8"))) for page in pages()}
    assert len(found) > 10
    assert {page: links for page, links in found.items() if links} == {}


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One: `two` three\n")
    text = "[a](page.md) [b](#one-two-three) [c](page.md#one) [d](gone.md) [e](https://x.y/z)"
    assert list(dead_links(page, text)) == ["page.md#one", "gone.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_first_pages_link_to_the_others(page):
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    named = {((ROOT / page).parent / link).resolve() for link in links if "://" not in link}
    for other in ("methods.md", "distill.md"):
        assert ROOT / "docs" / other in named, other


def test_make_has_the_targets_that_the_readme_names():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"make ([a-z-]+)", text)) <= set(targets)


COLUMNS = {
    "intents": "intents",
    "endings": "tone",
    "English reviews": "sentiment (English)",
    "Korean reviews": "sentiment (Korean)",
}


def all_tasks():
    """Scores in % of the table of methods, by method (prompt-20: prompt) and column."""
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    table = text.partition("<!-- all-tasks -->")[2].partition("<!-- /all-tasks -->")[0]
    titles, _, *rows = (
        [c.strip() for c in line.split("|")[1:-1]] for line in table.split("\n")[1:-1]
    )
    found = {}
    for method, *cells in rows:
        scores = found.setdefault(re.sub(r"-\d+$", "", method), {})
        for title, cell in zip(titles[1:], cells, strict=True):
            scores.setdefault(title, []).append(float(cell.split()[0]))
    return found


@pytest.mark.parametrize("kind", ["lora", "qlora", "full", "prompt", "p-tuning"])
def test_what_a_method_reached_is_what_the_table_says(kind):
    scores, column, told = all_tasks(), "", 0
    for word, other, number in re.findall(
        rf"({'|'.join(COLUMNS)})|(?:(lora) )?([\d.]+) %", method_notes()[kind].measured
    ):
        column = COLUMNS.get(word, column)
        if number:
            known = scores[other or kind][column]
            assert min(abs(float(number) - score) for score in known) <= 0.5, (column, number)
            told += 1
    assert told >= 2
