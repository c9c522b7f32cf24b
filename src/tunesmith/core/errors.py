"""Errors that a user can fix: one exception root, with what, where and the way out."""

import re
from contextvars import ContextVar
from typing import Any

# Whether the user typed a command: then a remedy's flags are what can be given.
is_command_line: ContextVar[bool] = ContextVar("is_command_line", default=False)
_FLAG = re.compile(r"(?<![\w-])--([a-z]+(?:[._-][a-z]+)*)")
_KEYWORDS = {"data", "force", "grid", "method", "methods", "model", "out", "resume"}


class TunesmithError(Exception):
    """A refusal: ``message`` says what and why, ``remedy`` the way out, ``code`` is for scripts."""

    code = "refused"
    exit_status = 1

    def __init__(self, message: str, *, remedy: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes, whatever a subclass is made from."""
        return _restored, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        """Message and remedy; in a program, also the keywords that the remedy's flags are."""
        text = f"{self.message} {self.remedy}".strip()
        keywords = "" if is_command_line.get() else keywords_of(self.remedy)
        return f"{text} In Python: {keywords}" if keywords else text


def _restored(
    kind: type[TunesmithError], arguments: tuple[object, ...], values: dict[str, object]
) -> TunesmithError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(values)
    return error


def keywords_of(remedy: str) -> str:
    """`out=..., settings={"data.map": ...}` for the flags that a remedy names."""
    flags = dict.fromkeys(_FLAG.findall(remedy))
    plain = [f"{name}=..." for name in flags if name in _KEYWORDS]
    keys = ", ".join(f'"{name}": ...' for name in flags if "." in name)
    return ", ".join([*plain, *([f"settings={{{keys}}}"] if keys else [])])


class UsageError(TunesmithError):
    """Wrong usage of a command or a key that does not exist."""

    code = "usage"
    exit_status = 2


class ConfigError(TunesmithError):
    """A configuration that cannot be run; every fault in it is listed."""

    code = "config"


class ModelError(TunesmithError):
    """A base model that is missing, damaged, unknown or not supported."""

    code = "model"


class DataError(TunesmithError):
    """Rows that cannot be trained on; every fault is listed with file and line."""

    code = "data"


class AdapterError(TunesmithError):
    """An adapter that is damaged or does not fit its base."""

    code = "adapter"


class RunError(TunesmithError):
    """A training run that cannot start, continue or be resumed."""

    code = "run"


class MemoryRefusal(RunError):
    """Work that would not fit in this machine's memory, with what would."""

    code = "memory"


class RagError(TunesmithError):
    """Documents that cannot be read, or a store that cannot be opened, written or searched."""

    code = "rag"


class OldNameWarning(FutureWarning):
    """A config or a command line names something as an earlier version did."""
