"""Thinking inside a text: what stands in front of </think>, and what is said after it."""

OPEN, CLOSE = "<think>", "</think>"


def with_thinking(thinking: str, content: str) -> str:
    """The content behind its thinking, as models that think write it."""
    return f"{OPEN}\n{thinking}\n{CLOSE}\n\n{content}"


def split_thinking(text: str) -> tuple[str, str]:
    """The thinking that a text begins with ("" without any), and what is said after it.

    The opening mark may be missing: some prompts write it.
    """
    thinking, closed, said = text.rpartition(CLOSE)
    if not closed:
        return "", text
    return thinking.strip().removeprefix(OPEN).strip(), said.lstrip()
