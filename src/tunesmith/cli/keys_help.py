"""`--help` of the commands that take config keys: their own page, then every key by section."""

import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import typer
from typer.models import OptionInfo

if TYPE_CHECKING:
    from tunesmith.cli.keys import Key

FILE_KEYS = ("data.format", "data.map", "data.encoding", "data.delimiter", "data.part")
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
INDENT, WIDEST = 8, 100


def help_with_keys(keys: Callable[[], Mapping[str, "Key"]]) -> OptionInfo:
    """A --help option that lists ``keys`` too, which are asked for only then."""

    def show(context: typer.Context, wanted: bool) -> None:
        if wanted:
            width = min(shutil.get_terminal_size().columns, WIDEST)
            typer.echo("\n".join([context.get_help(), *key_lines(keys(), width=width)]))
            raise typer.Exit

    option: OptionInfo = typer.Option(
        "--help", "-h", is_eager=True, callback=show, help="Show this page."
    )
    return option


def keys_named(*names: str) -> Mapping[str, "Key"]:
    """These keys of a run's config."""
    from tunesmith.cli.keys import config_keys

    return {name: key for name, key in config_keys().items() if name in names}


def key_lines(keys: Mapping[str, "Key"], *, width: int) -> Iterator[str]:
    """Each section of the config with its keys: what a key takes, its default, what it does."""
    kinds = max((len(key.kinds) for key in keys.values()), default=0)
    for section in dict.fromkeys(key.section for key in keys.values()):
        yield f"\nConfig: {section}" if section else "\nConfig"
        for key in keys.values():
            if key.section == section:
                head = f"  --{key.name}  {key.type}"
                default = f"[default: {key.default}]" if key.default else ""
                fits = len(head) + 2 + len(default) <= width
                if fits:
                    yield f"{head}  {default}".rstrip()
                else:
                    yield from textwrap.wrap(
                        head.strip(),
                        width,
                        initial_indent="  ",
                        subsequent_indent=" " * INDENT,
                        break_on_hyphens=False,
                    )
                    yield from [" " * INDENT + default] if default else []
                yield from _explained(key, kinds, width=width)


def _explained(key: "Key", kinds: int, *, width: int) -> list[str]:
    is_of_some = key.kinds and len(key.kinds) < kinds
    text = f"{key.help} ({', '.join(key.kinds)} only)" if is_of_some else key.help
    indent = " " * INDENT
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
