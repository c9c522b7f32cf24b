"""Counts agree with their nouns, in every message."""

import ast
import re

import pytest

from tests.source import PACKAGE, SRC, modules, parsed
from tunesmith.counts import many

NOUNS = "row token step question fault layer thread tensor answer text prompt shard run file"
NOUNS += " message column line check device head training checkpoint adapter model core epoch"
NOUNS += " second minute"
# A number, then its noun in the plural: wrong for one. A rate (tokens/s) has no singular.
PLURAL = re.compile(rf"^ (?:(?!and |or |of )[a-z-]+ )?(?:{'|'.join(NOUNS.split())})s\b(?!/)")


def bare_counts(module):
    """Where a formatted value is followed by a plural that is always written."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                is_value = isinstance(value, ast.FormattedValue)
                if is_value and isinstance(text, ast.Constant) and PLURAL.match(text.value):
                    yield f"{module.where}:{node.lineno}: {text.value.strip()}"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (2000, "2,000 rows")]
)
def test_one_is_one_row(count, text):
    assert many(count, "row") == text


def test_no_message_writes_a_plural_behind_a_number():
    faults = [fault for module in modules() for fault in bare_counts(module)]
    assert not faults, "write many(count, noun): " + "; ".join(faults)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("f'{n:,} rows'", 1),
        ("f'{n} held-out rows are there'", 1),
        ("f'{a} of {b} steps'", 1),
        ("f'{n:,.0f} tokens/s'", 0),
        ("f'{n} rowsets'", 0),
        ("f'{many(n, \"row\")} and rows'", 0),
    ],
)
def test_a_plural_behind_a_number_is_seen(text, count):
    assert len(list(bare_counts(parsed(f"{PACKAGE}.a", SRC / PACKAGE / "a.py", text)))) == count
