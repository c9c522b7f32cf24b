"""The benchmarks' files share what they share: a change of one side cannot miss another."""

from collections import defaultdict

from tests.source import ROOT

BLOCK = 4


def blocks(text):
    """Every few lines in a row, indentation, brackets alone and imports aside."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [x for x in lines if x.strip("()[]{},") and not x.startswith(("import ", "from "))]
    return {tuple(lines[i : i + BLOCK]) for i in range(len(lines) - BLOCK + 1)}


def repeated(texts):
    """The blocks that several of these files have, with the files."""
    found = defaultdict(list)
    for name, text in texts.items():
        for block in blocks(text):
            found[block].append(name)
    return {block: names for block, names in found.items() if len(names) > 1}


def test_no_block_of_lines_is_in_two_files():
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert repeated({file.name: file.read_text(encoding="utf-8") for file in files}) == {}


def test_a_repeated_block_is_seen_whatever_its_indentation():
    block = "a = 1\nb = 2\nc = 3\nd = 4\n"
    assert repeated({"x": block, "y": "import e\n" + block.replace("\n", "\n    ")}) == {
        tuple(block.split("\n")[:BLOCK]): ["x", "y"]
    }
