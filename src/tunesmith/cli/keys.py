"""The words of a command line: which are flags, which keys of a config they set, and the rest."""

import difflib
from collections.abc import Collection, Mapping, Sequence

from tunesmith.config.keys import Key
from tunesmith.config.load import SHORT_FLAGS, Flags, parse_overrides
from tunesmith.config.peer_names import ours
from tunesmith.config.renamed import new_key
from tunesmith.config.settings import MAPPING
from tunesmith.core.errors import UsageError

FEW = 12


def read_flags(words: Sequence[str], *, known: Mapping[str, Key]) -> tuple[list[str], Flags]:
    """The words that are no flags, and the nested values of the others.

    Raises UsageError with every flag that is unknown or given twice.
    """
    short = {name: key for name, key in SHORT_FLAGS.items() if key in known}
    pairs, positional = _pairs(words, known=known, short=short)
    names = [name for name, _ in pairs]
    unknown = [name for name in names if name not in known]
    twice = {n for n in names if n in known and names.count(n) > 1 and known[n].type != MAPPING}
    faults = [f"There is no flag --{name}{_hint(name, [*known, *short])}" for name in unknown]
    faults += [f"--{name} is given twice." for name in sorted(twice)]
    if faults:
        raise UsageError("\n".join(faults), remedy="Each flag is listed under --help.")
    flags = [f"--{name}" if value is None else f"--{name}={value}" for name, value in pairs]
    return positional, Flags(parse_overrides(flags))


def _pairs(
    words: Sequence[str], *, known: Mapping[str, Key], short: Mapping[str, str]
) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Flags with their values (None: without one), and the words between them."""
    rest, pairs, positional = list(words), [], []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            positional.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_") if name.replace("-", "_") in known else name
        name = new_key(short.get(name, name))
        takes_next = not equals and rest and not rest[0].startswith("--")
        pairs.append((name, value if equals else rest.pop(0) if takes_next else None))
    return pairs, positional


def _hint(name: str, names: Collection[str]) -> str:
    """The flag that was probably meant, by its whole name or by its last part."""
    if (peer := ours(name.replace("-", "_"))) in names:
        return f"; here it is --{peer}."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    last = {each.rpartition(".")[2]: each for each in reversed(list(names))}
    near = near or [
        last[each] for each in difflib.get_close_matches(name.rpartition(".")[2], last, n=1)
    ]
    if near:
        return f"; did you mean --{near[0]}?"
    return f" (known: {', '.join(f'--{each}' for each in names)})." if len(names) < FEW else "."


def read_file_words(
    file: str, words: Sequence[str], *, known: Mapping[str, Key], several: bool = False
) -> tuple[str | list[str], Flags]:
    """The data and the values of its ``known`` flags; UsageError for any other word.

    Where there may be ``several`` files, other words are those.
    """
    positional, nested = read_flags(words, known=known)
    if positional and not several:
        raise UsageError(f"One FILE can be given, not also {', '.join(positional)}.")
    return [file, *positional] if positional else file, nested
