"""Is the library there that retrieval needs, and what installs it?"""

import importlib
from types import ModuleType

from tunesmith.errors import RagError


def library(module: str) -> ModuleType:
    """The module; raises RagError that names the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise RagError(
            f"Retrieval needs the package {error.name}, which is not installed.",
            remedy="Install it with: pip install 'tunesmith[rag]'",
            code="not_installed",
        ) from None
