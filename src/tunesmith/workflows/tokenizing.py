"""A base's tokenizer and context without its weights: enough to check and to show data."""

from dataclasses import dataclass

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from tunesmith.models.cache import Emit, ignore
from tunesmith.models.load import context_of, read_config, read_tokenizer
from tunesmith.models.quiet import no_progress_bars
from tunesmith.models.resolve import resolve
from tunesmith.models.supported import check_config


@dataclass(frozen=True, slots=True)
class OpenedTokenizer:
    """A base's tokenizer, the longest document in tokens that the base admits, and its shape."""

    tokenizer: PreTrainedTokenizerBase
    context: int
    config: PretrainedConfig


def open_tokenizer(
    model: str, *, trust_remote_code: bool = False, emit: Emit = ignore
) -> OpenedTokenizer:
    """Read only what rows are rendered with; raises ModelError as loading the base would."""
    folder = resolve(model, trust_remote_code=trust_remote_code, emit=emit)
    with no_progress_bars():
        config = read_config(folder, trust_remote_code=trust_remote_code)
        check_config(config, folder)
        tokenizer = read_tokenizer(folder, trust_remote_code=trust_remote_code)
    return OpenedTokenizer(tokenizer, context_of(config, folder), config)
