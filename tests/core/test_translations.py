"""Every message that a user may read is said in Korean, all of it."""

import re

import pytest

from tests.messages import messages
from tunesmith.core.language import _VALUE, catalogue_of, localized, with_particles
from tunesmith.models.hub_bases import hub_bases

# What reads like a text there and is not shown to a user in his language. What is raised, noted or
# printed there counts nevertheless.
ENGLISH = {
    "adapters.card": "a README that travels with an adapter, and is English",
    "runs.card": "the same of a run",
    "runs.card_results": "the same of its evaluation",
    "studies.search_state": "comments of a config file, which are English",
    "setup.draft_config": "a config file and its comments, which are English",
    "setup.demo": "the goal in such a file",
    "setup.persona": "system prompts that are proposed in such a file",
    "conversation.cases": "an instruction to a model",
    "conversation.written_questions": "an instruction to a model, with examples",
    "evaluation.checks.judge_prompts": "an instruction to a model",
    "evaluation.forgetting_probes": "a name of a group in a document",
    "evaluation.forgetting_prompts": "an instruction to a model",
    "evaluation.paraphrases": "other words of questions, for a model",
    "exports.export": "prompts for a model",
    "exports.ollama": "prompts for a model, in Ollama's language",
    "retrieval.prompt": "an instruction to a model",
    "retrieval.store": "a text whose vector is known",
    "evaluation.checks.refusal": "patterns of answers",
    "evaluation.knowledge": "words that count for nothing",
    "retrieval.confidence": "words that count for nothing",
    "retrieval.read": "endings of files",
    "data.quality.persona": "patterns of answers",
    "data.quality.invisible": "names of characters, as Unicode has them",
    "data.files.binary": "messages of a library",
    "engine.memory": "messages of a library",
    "estimate.machine": "a field of /proc, and a source in a document",
    "engine.attention": "a mistake of a caller",
    "engine.blocks": "a mistake of a caller",
    "engine.decode": "a mistake of a caller",
    "models.catalog": "a message of pip",
    "models.embedder": "who is credited",
    "core.files": "a pattern of messages",
    "core.language": "says what others made",
    "core.numbers": "nouns, which are read where they are counted",
    "report.plot": "a pattern of warnings",
    "report.comparison_page": "matplotlib's words",
    "report.score_charts": "matplotlib's words",
    "report.training_charts": "matplotlib's words",
    "exports.writers": "commands",
    "cli.main": "names of commands",
    "cli.rag": "help, which is English",
    "config.checks": "help, which is English",
    "config.endpoint": "help, which is English",
    "setup.doctor": "a field of /proc",
    "runs.lock": "a field of /proc",
}
# What goes to programs over HTTP, as JSON, and to a server's log: English in any language.
OVER_HTTP = (
    "server.",
    *(f"generation.{name}" for name in ("adapter_pool", "engine_thread", "json_constraint")),
    *("generation.request", "generation.scheduler"),
)
# Names, flags, codes and commands, which are the same in any language.
CODE = re.compile(
    r"(?:python -m )?tunesmith [\w<].*?(?=$|[.;] |\n)|pip install \S+|`[^`]*`|\[[\w, ]+\]|'[^']*'"
    r'|"[^"]*"|--[\w.-]+( [\w,]+)?|\S*[/._=:]\S+|\{[^}]*\}|<[^>]*>'
)
TWO_WORDS = re.compile(r"(?<![\w./])[a-z][a-z'-]+ [a-z]{2,}(?![\w./])")
OF_SENTENCES = (
    "a an and are as be by for from has have in is it its more no not of or than that the this to "
    "was were which with without"
)
WORDS = re.compile(rf"(?<![\w./-])(?:{'|'.join(OF_SENTENCES.split())})(?![\w./-])")


def english(said: str) -> bool:
    """Whether a text has English words that are no names, flags or codes."""
    bare = CODE.sub(" ", said)
    return bool(TWO_WORDS.search(bare) or WORDS.search(bare))


def is_said(english_text: str) -> bool:
    """Whether all of a text is said in Korean."""
    said = localized(english_text, "ko")
    is_korean = re.search("[가-힣]", said) or said != english_text
    return not english(said) and bool(is_korean or not re.search("[a-z]{3}", CODE.sub("", said)))


def of_english(message):
    return message.is_loose and message.module.name.removeprefix("tunesmith.") in ENGLISH


def over_http(message):
    return message.module.name.removeprefix("tunesmith.").startswith(OVER_HTTP)


def test_every_message_is_said_in_korean():
    missing = {
        f"{message.where}: core/messages/ko.yaml lacks {message.key!r}"
        for message in messages()
        if not of_english(message) and not over_http(message) and not is_said(message.text)
    }
    assert not missing, "\n".join(sorted(missing))


def test_what_bases_of_the_hub_are_for_is_said_in_korean():
    assert [each.fit for each in hub_bases() if not is_said(each.fit)] == []


def test_what_is_english_by_design_is_somewhere():
    loose = (message for message in messages() if of_english(message))
    found = {message.module.name for message in loose if not is_said(message.text)}
    assert {f"tunesmith.{name}" for name in ENGLISH} == found


def test_each_entry_is_korean_and_is_not_hidden_by_another():
    """A vaguer entry would say something else of the same text."""
    wrong = []
    for key, said in catalogue_of("ko").items():
        sample = _VALUE.sub("7", key).replace("(s)", "s")
        expected = with_particles(_VALUE.sub("7", said))
        if localized(sample, "ko") != expected or english(expected):
            wrong.append(key)
    assert not wrong


def test_what_is_not_said_would_be_found():
    assert is_said("a.csv:5: the text contains the special token `the end`.")
    assert not is_said("a.csv:5: the text contains nothing that anybody knows.")
    assert not is_said("알림: the rows are few (3행)")
    assert is_said("LoRA, QLoRA")


SEVERAL = [message for message in catalogue_of("ko") if ". " in message]


@pytest.mark.parametrize("around", ["rows.csv: holds no rows. {}", "{} (1,024 rows)"])
@pytest.mark.parametrize("message", SEVERAL)
def test_a_message_of_several_sentences_is_said_beside_others(message, around):
    blank = re.sub(r"\{(\w+)(?::\w+)?\}", lambda m: "3" if len(m[1]) == 1 else "abc", message)
    text = blank.replace("(s)", "s")
    assert localized(text, "ko") in localized(around.format(text), "ko")
