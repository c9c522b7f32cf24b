"""What an evaluation says, a file of phrases for each language."""

from collections.abc import Callable

from tunesmith.words import DEFAULT, Words, languages

PHRASES = __name__


def words_in(language: str = DEFAULT) -> Words:
    """The phrases of one language; raises ValueError where there are none."""
    return Words(PHRASES, language)


def told(say: Callable[[str], str]) -> dict[str, object]:
    """A document's `text`, and the same in every language as `texts`."""
    return {"text": say(DEFAULT), "texts": {each: say(each) for each in languages(PHRASES)}}
