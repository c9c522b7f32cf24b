"""Errors that a user can fix: one exception root, with what, where and the way out."""


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

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


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
