"""Which facts of the training rows are asked again, in other words?"""

from pydantic import Field

from tunesmith.config.settings import Settings


class KnowledgeSettings(Settings):
    """Facts asked closed-book: those of training rows in other words, and held-out ones."""

    questions: str | None = Field(
        None,
        description='file of {"query": ..., "answer": ...}: training facts in other words; '
        "null: made by rules, where the training answers look like facts",
    )
    rows: int = Field(60, ge=2, description="facts of each kind that are asked, at most")
    max_new_tokens: int = Field(48, ge=1, description="longest answer to such a question")
