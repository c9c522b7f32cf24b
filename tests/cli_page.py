"""docs/cli.md: the --help of every command at one width; `make docs` runs this to write it."""

from collections.abc import Iterator

import typer
from typer.testing import CliRunner

from tests.source import ROOT
from tunesmith.cli.main import app

PAGE = ROOT / "docs" / "cli.md"
HEAD = """# The command line
What `--help` says of every command, written by `make docs`; `make test` fails where it is old.
"""
WIDTH = "80"


def commands(*, groups: bool = False) -> Iterator[tuple[str, ...]]:
    """The words of every command; with ``groups``, also of those that only hold others."""
    for name, one in typer.main.get_command(app).commands.items():
        inner = getattr(one, "commands", None)
        if groups or not inner:
            yield (name,)
        yield from ((name, each) for each in inner or ())


def page() -> str:
    """The page's text as it should be."""
    return "\n".join([HEAD, *map(_section, [(), *commands(groups=True)])])


def _section(words: tuple[str, ...]) -> str:
    result = CliRunner().invoke(
        app, [*words, "--help"], prog_name="tunesmith", env={"COLUMNS": WIDTH}
    )
    assert result.exit_code == 0, result.output
    lines = (line.rstrip() for line in result.stdout.strip().splitlines())
    return "\n".join([f"## {' '.join(['tunesmith', *words])}", "```text", *lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
