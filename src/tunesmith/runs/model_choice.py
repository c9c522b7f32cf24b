"""Which base does `model: auto` mean? The first known one that fits here and can be had."""

from collections.abc import Iterator, Sequence
from itertools import islice

from huggingface_hub import get_hf_file_metadata, hf_hub_url

from tunesmith.config.run import RunConfig
from tunesmith.core.numbers import bytes_text
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.quality.language_fit import language_name, languages_of
from tunesmith.data.read import read_rows
from tunesmith.data.rows import Conversation
from tunesmith.engine import memory
from tunesmith.engine.families import SUPPORTED
from tunesmith.models.catalog import ENTRIES
from tunesmith.models.hub_bases import HubBase, bases_for
from tunesmith.models.names import AUTO
from tunesmith.models.precision import detect_device
from tunesmith.runs.inputs import source_request

WAIT = 3.0  # seconds, for one answer of the hub
SAMPLED = 200  # rows, by which the language is recognized
DEFAULT_LANGUAGE = "en"


def with_model(config: RunConfig, *, progress: Progress = SILENT) -> RunConfig:
    """The config with a base in place of `model: auto`, which is reported; else itself.

    Of the bases that are published for the rows' language it is the first one that has room in
    this machine's memory (on a processor the smallest of each family comes first, elsewhere the
    largest), without consent to a licence and for commercial use. The hub is asked once. Where it
    does not answer, the base is the one of the package index.
    """
    if config.model.lower() != AUTO:
        return config
    spoken = [found.language for found in languages_of(list(_sample(config)))]
    language = next(iter(spoken), DEFAULT_LANGUAGE)
    on = detect_device(config.device)
    wanted = fitting(language, available=memory.available_bytes(on), large_first=on.type != "cpu")
    name, why = _chosen(wanted, language)
    progress.notice("model", f"model: auto is {name}: {why}")
    return config.model_copy(update={"model": name})


def fitting(language: str, *, available: int | None, large_first: bool) -> Sequence[HubBase]:
    """Bases for the language that fit and that anyone may use, the best first."""
    known = bases_for(language, families=SUPPORTED, available=available, large_first=large_first)
    return [base for base in known if base.fits(available) and base.is_free]


def _chosen(wanted: Sequence[HubBase], language: str) -> tuple[str, str]:
    """A base's name, and why it is that one."""
    spoken, local = language_name(language), ENTRIES[0]
    if not wanted:
        return local.name, f"no base of the hub that is published for {spoken} fits this machine."
    first = wanted[0]
    if not can_be_fetched(first.hub_id):
        what = f"the hub did not answer within {WAIT:g} s, where {first.name} would be."
        if language not in local.languages:
            what += f" It is published for {', '.join(map(language_name, local.languages))} alone."
        return local.name, what
    return first.name, f"{described(first)}. It fits this machine and is published for {spoken}."


def described(base: HubBase) -> str:
    """Where a base is, with size, licence and languages."""
    count = base.of_languages or len(base.languages)
    languages = f"{count} languages" if count > 1 else language_name(base.languages[0])
    size = f"{bytes_text(base.weight_bytes)} in bfloat16"
    return f"{base.hub_id} on the hub, {size}, {base.licence}, {languages}"


def can_be_fetched(hub_id: str) -> bool:
    """Whether the hub has the base and answers in time; asked once."""
    try:
        get_hf_file_metadata(hf_hub_url(hub_id, "config.json"), timeout=WAIT)
    except Exception:  # which library carries the requests differs by version
        return False
    return True


def _sample(config: RunConfig) -> Iterator[Conversation]:
    """The first sound rows of the training files."""
    for source in config.data.sources:
        _, _, outcomes = read_rows(source_request(config.data, source))
        yield from (each.value for each in islice(outcomes, SAMPLED) if each.value is not None)
