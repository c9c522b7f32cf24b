"""A run that goes on with an adapter: what its folder decides, and what the config may ask."""

from pathlib import Path

from tunesmith.adapters import store
from tunesmith.adapters.folder import read_origin
from tunesmith.adapters.loaded_base import LoadedBase, attach_over_any
from tunesmith.config import RunConfig
from tunesmith.config.methods import AnyMethod, init_path, needs_four_bit
from tunesmith.core.errors import ConfigError
from tunesmith.data.tokenizer import Tokenizer, decode, encode
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter
from tunesmith.methods.peft import Difference
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.load import Base, read_tokenizer


def start_folder(settings: AnyMethod) -> Path | None:
    """The folder of the adapter to go on with; None for another start, or a whole model's.

    Raises ConfigError where there is no such folder.
    """
    path = init_path(settings)
    folder = Path(path or "").expanduser()
    if path and not folder.is_dir():
        raise ConfigError(
            f"method.init: there is no folder {path}.",
            remedy="Name the folder to continue from, or a start that `tunesmith train --help` "
            "lists.",
        )
    return folder if path and table.METHODS[settings.kind].peft else None


def resolved(config: RunConfig) -> RunConfig:
    """The config with the adapter's own values for the keys of `method` that it leaves out.

    Raises ConfigError for a folder that is missing or holds an adapter of another kind,
    AdapterError for one that cannot be read. Keys that are given are compared by ``attach``.
    """
    asked = config.method
    folder = start_folder(asked)
    if folder is None:
        return config
    found = store.settings_of(folder)
    if table.METHODS[found.kind].peft is not table.METHODS[asked.kind].peft:
        raise ConfigError(
            f"method.kind is {asked.kind}, and {folder}, which method.init goes on with, is an "
            f"adapter of kind {found.kind}.",
            remedy=f"Set method.kind to {found.kind}, or leave method.init out.",
        )
    given = {key for key in asked.model_fields_set if getattr(asked, key) is not None}
    left_out = found.model_fields_set - given - {"kind", "init"}
    values: dict[str, object] = {key: getattr(found, key) for key in left_out}
    if "new_tokens" not in given and (texts := token_texts(folder)):
        values["new_tokens"] = texts
    return config.model_copy(update={"method": asked.model_copy(update=values)})


def attach(loaded: LoadedBase, config: RunConfig, folder: Path, *, name: str) -> Adapter:
    """Attach the folder's adapter as the config asks for it.

    Raises what ``resolved`` does, and ConfigError for every key that asks for another adapter.
    """
    settings = resolved(config).method
    differing = _differing_tokens(settings, folder)
    return attach_over_any(loaded, folder, name=name, settings=settings, differing=differing)


def other_base(config: RunConfig, base: Base) -> str | None:
    """That the adapter to go on with was trained over another base, for people; None if not."""
    folder = start_folder(config.method)
    origin = None if folder is None else read_origin(folder)
    if origin is None:
        return None
    was, now = (needs_four_bit(kind) for kind in (origin.kind, config.method.kind))
    if was != now:
        before, after = ("in 4 bit" if four_bit else "in 16 bit or more" for four_bit in (was, now))
        return f"{folder} was trained over a base {before}, and goes on over one {after}"
    if origin.sha256 != hash_folder(base.folder)[COMBINED]:
        return f"{folder} was trained over {origin.base}, and goes on over another base"
    return None


def token_texts(folder: Path) -> tuple[str, ...]:
    """The adapter's own tokens, each as a text that its tokenizer reads as this one token."""
    ids = store.token_ids(folder)
    if not ids:
        return ()
    tokenizer = read_tokenizer(folder, trust_remote_code=False)
    texts = [decode(tokenizer, [token]) for token in ids]
    return tuple(
        text if encode(tokenizer, [text]) == [[token]] else tokenizer.convert_ids_to_tokens(token)
        for text, token in zip(texts, ids, strict=True)
    )


def _differing_tokens(settings: AnyMethod, folder: Path) -> list[Difference]:
    """Tokens that are asked for and are not the adapter's own."""
    if not table.of(settings).own_tokens:
        return []
    wanted: tuple[str, ...] = getattr(settings, "new_tokens", ())
    there = store.token_ids(folder)
    asked: set[int] = set()
    if there:
        tokenizer: Tokenizer = read_tokenizer(folder, trust_remote_code=False)
        asked = {_id(tokenizer, text) for text in wanted}
    if asked == set(there) and bool(wanted) == bool(there):
        return []
    return [Difference("new_tokens", wanted, token_texts(folder))]


def _id(tokenizer: Tokenizer, text: str) -> int:
    """The id of a text that is one token."""
    (ids,) = encode(tokenizer, [text])
    return ids[0] if len(ids) == 1 else tokenizer.convert_tokens_to_ids(text)
