"""Settings of every kind of check, and an answer that is right under each."""

import json

from tunesmith.config.checks import (
    BleuSettings,
    ChrfSettings,
    ContainsSettings,
    EndsWithSettings,
    ExactSettings,
    JsonSettings,
    JudgeSettings,
    LabelSettings,
    LanguageSettings,
    MaxSentencesSettings,
    MaxWordsSettings,
    NotContainsSettings,
    NumberSettings,
    PythonSettings,
    RefusalSettings,
    RegexSettings,
    RougeSettings,
    SimilaritySettings,
    SlotsSettings,
    SqlSettings,
    StartsWithSettings,
    StepsSettings,
    StyleSettings,
    ToolCallSettings,
)

SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'x')"
FUNCTION = "def score(answer, reference):\n    return answer == reference\n"

WITHOUT_FILES = (
    ExactSettings(),
    LabelSettings(),
    NumberSettings(),
    JsonSettings(),
    RegexSettings(pattern="a"),
    StartsWithSettings(beginnings=("a",)),
    EndsWithSettings(endings=("a",)),
    ContainsSettings(texts=("a",)),
    NotContainsSettings(texts=("qq",)),
    MaxWordsSettings(words=3),
    MaxSentencesSettings(sentences=1),
    LanguageSettings(language="en", among=("ko",)),
    ToolCallSettings(calls=()),
    RefusalSettings(refuses=False),
    StepsSettings(),
    SlotsSettings(),
    RougeSettings(),
    BleuSettings(),
    ChrfSettings(),
    StyleSettings(),
    SqlSettings(script=SCRIPT),
    JudgeSettings(
        model="j", rubric="Be brief and kind.", base_url="http://127.0.0.1:9/v1", key=None
    ),
)
OWN = {
    "exact": "a b",
    "label": "refund",
    "number": "12 apples\n#### 12",
    "json": json.dumps({"a": 1}),
    "regex": "ab",
    "starts_with": "ab",
    "ends_with": "ba",
    "contains": "bab",
    "not_contains": "ab",
    "max_words": "one two three",
    "max_sentences": "One sentence.",
    "language": "This is an English sentence.",
    "tool_call": "It rains.",
    "refusal": "It rains.",
    "steps": "6 + 6 = 12\n12 * 2 = 24\n#### 24",
    "slots": "name[The Vaults], food[Thai]",
    "rouge": "the cat sat on the mat",
    "bleu": "the cat sat on the mat",
    "chrf": "the cat sat on the mat",
    "sql": "SELECT a, b FROM t ORDER BY a",
    "similarity": "cat dog",
    "python": "a",
}
"""For each kind whose reference must pass: an answer that is its own reference."""


def with_files(folder, embedder):
    """The kinds that need a file or a folder."""
    path = folder / "mine.py"
    path.write_text(FUNCTION, encoding="utf-8")
    return (
        PythonSettings(function=f"{path}:score"),
        SimilaritySettings(model=str(embedder)),
    )
