"""How transformers loads without writing over the caller's own output."""

import contextlib
import io
from collections.abc import Iterator

from transformers.utils import logging


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """No progress bars inside; afterwards as before."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars and no warnings inside: for a caller that checks the result and reports itself."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        # The bar of the GGUF reader does not obey the switch.
        with no_progress_bars(), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
