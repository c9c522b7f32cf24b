"""Which form has an answer? What two answers must share to be called alike in form."""

import json
import re
from contextlib import suppress

_LIST = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
_NUMBER = re.compile(r"[-+]?[$€£₩]?\d[\d,]*(?:\.\d+)?\s?%?")
_ENDS = {"?": "question", "？": "question", "!": "call", "！": "call", ".": "stop", "。": "stop"}
_POLITE = re.compile("(?:요|니다|니까|세요|죠)[.?!~…\\s]*$")

Form = tuple[str, ...]


def form_of(text: str) -> Form:
    """The form: JSON by its keys, a number, a list, code, or text by its end and its lines.

    Korean texts also by whether their ending is polite. Two answers of one form may say
    different things.
    """
    bare = text.strip()
    if not bare:
        return ("empty",)
    with suppress(ValueError, RecursionError):
        return _of_json(json.loads(bare))
    if "```" in bare:
        return ("code",)
    lines = [line for line in bare.splitlines() if line.strip()]
    if sum(bool(_LIST.match(line)) for line in lines) * 2 > len(lines) > 1:
        return ("list",)
    if _NUMBER.fullmatch(bare):
        return ("number",)
    polite = ("polite",) if _POLITE.search(bare) else ()
    return ("text", _ENDS.get(bare[-1], "open"), "lines" if len(lines) > 1 else "line", *polite)


def _of_json(value: object) -> Form:
    if isinstance(value, dict):
        return ("object", *sorted(value))
    if isinstance(value, bool | int | float) or value is None:
        return ("number",) if isinstance(value, int | float) else ("json",)
    return ("array",) if isinstance(value, list) else ("json",)
