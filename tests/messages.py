"""Every message in the source that a user may read, with samples of the values in it."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.names import called, index
from tests.source import Module, modules
from tests.texts import PLURAL, SLOT, Scope, texts

# What is shown: the arguments that are messages, by place or name, of what is called.
SHOWN: dict[str, tuple[int | str, ...]] = {
    "Fault": (1, 2, "message", "remedy"),
    "problem": (1, "message", "remedy"),
    "Note": (1, "message"),
    "note": (1, "message"),
    "Notice": (1, "message"),
    "notice": (1, "message"),
    "Phase": (0, "phase"),
    "phase": (0, "name"),
    "quiet_phase": (0, "name"),
    "warn": (0,),
    "say": (0,),
    "line": (1,),
    "paragraph": (1,),
    "show_notes": (1,),
    "show_next": ("title",),
    "print_table": (1,),
    "labelled": (0, 1),
    "localized": (0,),
    "Cancelled": (0,),
    # Values that hold one until it is shown.
    "Mismatch": (1, 2),
    "Feature": (0, 2),
    "Contract": (1,),
    "CannotScore": (0,),
    "unscored": (0,),
    "print_facts": (1,),
}
# The same in `api` and `cli`, which show it; elsewhere these names are others'.
SHOWN_THERE: dict[str, tuple[int | str, ...]] = {"keep": (0,), "update": (0,), "print": (0,)}
OF_ERRORS = (0, 1, 2, "message", "remedy")
FORMAT = re.compile(r"(?<!\{)\{\w+(?::\w+)?\}(?!\})")  # a value that `str.format` puts in
NUMBERS = "nmkjihgfedcba"
LANGUAGE = "tunesmith.core.language"  # which says what others made
TWO_WORDS = re.compile(r"(?<![\w./`\"'<-])[a-z]{2,} [a-z]{2,}(?![\w./`\"'>-])")


@dataclass(frozen=True, slots=True)
class Message:
    """A text as it may be shown, and where it is made."""

    module: Module
    line: int
    form: str  # with slots
    is_loose: bool = False  # not shown where it is made, as far as can be read

    @property
    def where(self) -> str:
        """`src/tunesmith/data/read.py:12`."""
        return f"{self.module.where}:{self.line}"

    @property
    def text(self) -> str:
        """With samples in the slots."""
        return FORMAT.sub("7", SLOT.sub(r"\3", self.form).replace(PLURAL, "s"))

    @property
    def key(self) -> str:
        """As a catalogue has it: `{path}: {n} row(s)`."""
        names: Counter[str] = Counter()

        def name(match: re.Match[str]) -> str:
            names[match[1]] += 1
            given = match[1]
            if len(given) == 1:
                return "{" + NUMBERS[names[given] - 1] + "}"
            return "{" + given + (str(names[given]) if names[given] > 1 else "") + match[2] + "}"

        return SLOT.sub(name, self.form).replace(PLURAL, "(s)").strip()


@cache
def messages() -> tuple[Message, ...]:
    """All of them, each as often as it is made: what is shown, then what else reads like a text."""
    seen: set[int] = set()
    return (*_shown(seen), *_loose(seen))


def _shown(seen: set[int]) -> Iterator[Message]:
    """What is said where it is made; the texts that were read for it are ``seen``."""
    for module in modules():
        for function, node in index(module).calls if module.name != LANGUAGE else ():
            for shown in shown_by(node, module):
                for form in texts(shown, Scope(module, function, seen)):
                    if " " in form or called(node) not in error_classes():  # no code of a fault
                        yield Message(module, shown.lineno, form)


def _loose(seen: set[int]) -> Iterator[Message]:
    """What else reads like a text, and is no part of another one."""
    found: list[tuple[Message, set[int]]] = []
    inner = set(seen)
    for module in modules():
        for function, node in index(module).texts:
            own, read = {id(each) for each in ast.walk(node)}, set[int]()
            if seen.isdisjoint(own):
                forms = texts(node, Scope(module, function, read))
                found += [
                    (Message(module, node.lineno, form, is_loose=True), own) for form in forms
                ]
                inner |= read - own
    for message, own in found:
        if inner.isdisjoint(own) and TWO_WORDS.search(SLOT.sub("7", message.form)):
            yield message


def shown_by(node: ast.Call, module: Module) -> Iterator[ast.expr]:
    """The arguments of a call that a user may read."""
    name, package = called(node), module.name.split(".")[1:2]
    wanted = OF_ERRORS if name in error_classes() else SHOWN.get(name, ())
    if package in (["api"], ["cli"]):
        wanted = wanted or SHOWN_THERE.get(name, ())
    elif package == ["config"] and name in ("ValueError", "TogetherError"):
        wanted = (0,)  # of a validator: part of what is said of a config
    for place, argument in enumerate(node.args):
        if place in wanted or (wanted and isinstance(argument, ast.Starred)):
            yield argument
    for keyword in node.keywords:
        if keyword.arg in wanted:
            yield keyword.value


@cache
def error_classes() -> frozenset[str]:
    """The project's own exceptions: what they say reaches a user, if not as it is."""
    found = {"Exception", "ValueError"}
    classes = [each for module in modules() for each in index(module).classes]
    while True:
        more = {c.name for c in classes if {ast.unparse(b) for b in c.bases} & found}
        if more <= found:
            return frozenset(found - {"Exception", "ValueError"})
        found |= more
