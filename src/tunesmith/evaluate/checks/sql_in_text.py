"""Which CREATE TABLE and INSERT statements stand in a text, with words around them?"""

import re
from collections.abc import Iterator

NAME = r"(?:\"[^\"]+\"|`[^`]+`|\[[^\]]+\]|[\w.]+)\s*"
CREATE = re.compile(rf"\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{NAME}", re.IGNORECASE)
INSERT = re.compile(rf"\bINSERT\s+INTO\s+{NAME}(\([^()]*\)\s*)?VALUES\s*", re.IGNORECASE)
OPTIONS = re.compile(r"\s*(?:,?\s*(?:WITHOUT\s+ROWID|STRICT)\b)*", re.IGNORECASE)
BETWEEN = re.compile(r"\s*,\s*(?=\()")
QUOTES = "'\"`"


def statements_in(text: str) -> Iterator[str]:
    """Each statement, from its first word to its last bracket; the text need not end it by `;`."""
    place = 0
    while (found := _next(text, place)) is not None:
        place = found.end()
        end = _group_end(text, place)
        if end is None:
            continue
        if found.re is INSERT:
            while (comma := BETWEEN.match(text, end)) is not None:
                further = _group_end(text, comma.end())
                if further is None:
                    break
                end = further
        else:
            options = OPTIONS.match(text, end)
            end = options.end() if options and options[0].strip() else end
        yield text[found.start() : end]
        place = end


def _next(text: str, place: int) -> re.Match[str] | None:
    found = [match for each in (CREATE, INSERT) if (match := each.search(text, place))]
    return min(found, key=lambda match: match.start(), default=None)


def _group_end(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at ``start``; None where none does."""
    if not text.startswith("(", start):
        return None
    depth, quote = 0, ""
    for place in range(start, len(text)):
        letter = text[place]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in QUOTES:
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
            if depth == 0:
                return place + 1
    return None
