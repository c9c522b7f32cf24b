"""Is the library there that a check needs, and what installs it?"""

import importlib
from types import ModuleType

from tunesmith.errors import ConfigError


def library(module: str, *, kind: str, extra: str) -> ModuleType:
    """The module; raises ConfigError that names the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The check `{kind}` needs the package {error.name}, which is not installed.",
            remedy=f"Install it with: pip install 'tunesmith[{extra}]'",
        ) from None
