"""Libraries: those of an extra are imported where they are used, or refused; and versions."""

import functools
import importlib
from importlib import metadata
from types import ModuleType

from tunesmith.core.errors import TunesmithError


def require(library: str, extra: str, error: type[TunesmithError], *, what: str) -> ModuleType:
    """The module ``library``, which the extra ``extra`` of Tunesmith brings.

    Where it cannot be imported, raises ``error`` (code `not_installed`), which begins with
    ``what`` needs the library: `Retrieval`, "The check `bleu`".
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as missing:
        raise error(
            f"{what} needs the package {missing.name}, which is not installed.",
            remedy=f"Install it with: pip install 'tunesmith[{extra}]'",
            code="not_installed",
        ) from None


@functools.cache
def version_of(package: str) -> str | None:
    """The installed version; None where there is none. Read once: its file may have thousands of
    lines.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
