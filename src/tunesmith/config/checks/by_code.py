"""The settings of checks that run something: a query, or a function of the user's."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from tunesmith.config.checks.fields import CheckName
from tunesmith.config.settings import Settings


class SqlSettings(Settings):
    """The answer, run on SQLite, gives the rows that the reference gives."""

    kind: Literal["sql"] = "sql"
    name: CheckName = None
    database: str | None = Field(None, description="an SQLite file; it is only ever read")
    script: str | None = Field(
        None, description="SQL that makes the tables and their rows, or its file"
    )
    from_question: bool = Field(
        False, description="the question holds CREATE TABLE and INSERT statements of its own"
    )
    seconds: float = Field(5.0, gt=0, allow_inf_nan=False, description="longest run of a query")
    rows: int = Field(10_000, ge=1, description="most rows of a result")

    @model_validator(mode="after")
    def _tables_come_from_one_place(self) -> "SqlSettings":
        if (self.database is not None) + (self.script is not None) + self.from_question != 1:
            raise ValueError("give one of database, script and from_question")
        return self


class PythonSettings(Settings):
    """A function of the user's gives the score."""

    kind: Literal["python"] = "python"
    name: CheckName = None
    function: str = Field(
        description="`file.py:function` or `module:function`; it is called with the answer, and "
        "with the reference and the question where it takes them"
    )

    @field_validator("function")
    @classmethod
    def _names_a_function(cls, value: str) -> str:
        path, _, name = value.rpartition(":")
        if not path.strip() or not name.isidentifier():
            raise ValueError("write `file.py:function` or `module:function`")
        return value
