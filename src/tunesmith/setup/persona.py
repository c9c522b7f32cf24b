"""Which checks, and which system prompt, fit the persona that speaks in the answers of a file?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.config.checks import EndsWithSettings, LanguageSettings
from tunesmith.core.numbers import pluralize
from tunesmith.data.quality.persona import (
    SPEECH_LEVELS,
    PersonaName,
    SpeechLevel,
    contradiction,
    introduced_name,
    name_in,
)
from tunesmith.data.rows import Conversation
from tunesmith.evaluation.checks.text_rules import identified
from tunesmith.setup.proposal import Proposal, passes

# Rules of speech hold for nearly all answers: people who write them slip now and then.
SHARE = 0.95
SAMPLE, MOST, ALL = 300, 0.8, 0.99  # answers looked at for their language; shares of one language
# What a base says of itself, which a persona does not; English ones everywhere, as bases of other
# languages fall back to English.
_ENGLISH = ("as an AI", "language model")
_OF_BASES = {"ko": ("언어 모델", "인공지능"), "ja": ("言語モデル",), "zh": ("语言模型",)}
LANGUAGES = {
    **{"ar": "Arabic", "de": "German", "es": "Spanish", "fr": "French", "hi": "Hindi"},
    **{"id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch"},
    **{"pl": "Polish", "pt": "Portuguese", "ru": "Russian", "th": "Thai", "tr": "Turkish"},
    **{"uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese"},
}
_HANGUL_STYLES = {
    "haeyo": "해요체로",
    "hamnida": "합니다체로",
    "polite": "공손한 존댓말로",
    "": "한국어로",
}


@dataclass(frozen=True, slots=True)
class Persona:
    """How the answers of a file speak: the name they give, their language, their politeness.

    What is not known is None.
    """

    name: PersonaName | None
    language: str | None
    level: SpeechLevel | None

    @property
    def is_one(self) -> bool:
        """Whether somebody speaks in these answers, rather than a classifier or a formula."""
        return self.name is not None or self.level is not None


def persona_of(answers: Sequence[str]) -> Persona:
    """The persona of answers; its language is None for English, which bases answer in anyway."""
    language = _common_language(answers)
    levels = SPEECH_LEVELS.get(language or "", ())
    level = next((each for each in levels if _speaks(answers, each)), None)
    return Persona(introduced_name(answers), language, level)


def _common_language(answers: Sequence[str]) -> str | None:
    sample = _sample(answers)
    if sum(letter.isalpha() and not letter.isascii() for letter in "".join(sample)) == 0:
        return None
    language, count = Counter(identified(text) for text in sample).most_common(1)[0]
    return str(language) if language not in (None, "en") and count >= MOST * len(sample) else None


def _sample(answers: Sequence[str]) -> Sequence[str]:
    return answers[:: max(1, len(answers) // SAMPLE)]


def language_check(answers: Sequence[str], persona: Persona) -> Iterator[Proposal]:
    """The language that nearly all answers are recognized to be in."""
    if persona.language is not None and passes(
        LanguageSettings(language=persona.language), _sample(answers), share=ALL
    ):
        check = {"kind": "language", "language": persona.language}
        yield Proposal(check, "the answers are written in it")


def _speaks(answers: Sequence[str], level: SpeechLevel) -> bool:
    return passes(EndsWithSettings(endings=level.endings), answers, share=SHARE)


def name_check(answers: Sequence[str], persona: Persona) -> Iterator[Proposal]:
    """The persona's name, where nearly every answer gives it."""
    name = persona.name.name if persona.name else None
    if name and sum(name in answer for answer in answers) >= SHARE * len(answers):
        check = {"kind": "contains", "name": "name", "texts": [name]}
        yield Proposal(check, "the answers give the name of the persona")


def politeness_check(level: SpeechLevel) -> Proposal:
    """How polite answers end."""
    endings = list(level.endings)
    check = {"kind": "ends_with", "name": "politeness", "endings": endings}
    return Proposal(check, f"answers end politely, with {', '.join(endings)}")


def forbidden_phrases(
    answers: Sequence[str], persona: Persona, inserted: str | None
) -> Iterator[Proposal]:
    """What a base says of itself and no answer of the persona does.

    ``inserted`` is the system prompt that the base's chat template writes by itself.
    """
    if not persona.is_one:
        return
    other = name_in(inserted) if inserted else None
    phrases = (*_ENGLISH, *_OF_BASES.get(persona.language or "", ()), *([other] if other else ()))
    everything = "\n".join(answers).casefold()
    unsaid = [each for each in phrases if each.casefold() not in everything]
    if unsaid:
        check = {
            "kind": "not_contains",
            "name": "in character",
            "texts": unsaid,
            "ignore_case": True,
        }
        yield Proposal(check, "what a base says of itself, and no answer does")


def propose_system(rows: Sequence[Conversation], persona: Persona) -> str | None:
    """A system prompt for rows without one, in the language of the answers where it is Korean.

    None where most rows have their own, or where nothing is known that a base would not do anyway.
    """
    own = sum(row.messages[0].role == "system" for row in rows)
    if 2 * own > len(rows):
        return None
    name = persona.name.name if persona.name else None
    if persona.language == "ko":
        style = _HANGUL_STYLES[persona.level.name if persona.level else ""]
        who = f"당신은 {name}입니다. " if name else ""
        return f"{who}{style} 답하세요."
    parts = [f"You are {name}."] if name else []
    known = LANGUAGES.get(persona.language or "")
    if known:
        politely = " politely" if persona.level else ""
        parts.append(f"Answer{politely} in {known}.")
    return " ".join(parts) or None


def system_remarks(
    rows: Sequence[Conversation],
    persona: Persona | None,
    *,
    given: str | None,
    inserted: str | None,
) -> Iterator[str]:
    """Where the system prompt that is given, or else the template's own, disagrees with the rows.

    ``rows`` are as they are in the file.
    """
    own = sum(row.messages[0].role == "system" for row in rows)
    if given and own:
        kept = "have a system message of their own, and keep it: data.system"
        if own == len(rows):
            yield f"all rows {kept} has no effect"
        else:
            yield f"{pluralize(own, 'row')} of {len(rows):,} {kept} is for the others"
    name = persona.name if persona else None
    if name is None:
        return
    said = f"{pluralize(name.rows, 'answer')} say that they are {name.name}"
    if given:
        other = contradiction(name.name, given)
        if name.name not in given:
            rest = f"data.system says {other}" if other else "data.system does not name it"
            yield f"{said}, and {rest}"
    elif inserted and own < len(rows) and (other := contradiction(name.name, inserted)):
        yield (
            f"{said}, and the base's chat template says {other} where a row has no system message: "
            "give the persona its own (--system TEXT)"
        )
