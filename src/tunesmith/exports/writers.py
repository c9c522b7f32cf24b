"""How an adapter is written for each program: the folder, what runs it, and the next commands."""

import dataclasses
import json
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from tunesmith.adapters import merge, store
from tunesmith.adapters.folder import Origin, read_origin, system_of, template_options_of
from tunesmith.adapters.loaded_base import LoadedBase, attach_folder, open_base, own_tokenizer
from tunesmith.adapters.merge import Into, MergedModel, Target
from tunesmith.core import files
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.data.chat_text import with_options
from tunesmith.exports import adapter_folder, ollama
from tunesmith.exports.gguf_model import REMEDY, NumberFormat, write_adapter, write_model
from tunesmith.exports.llama_process import KQuant, write_k_quant
from tunesmith.methods.adapter import Adapter
from tunesmith.models.catalog import find_entry
from tunesmith.models.four_bit import quantized
from tunesmith.models.load import read_config, read_tokenizer, stop_ids_in
from tunesmith.models.names import portable_name
from tunesmith.models.precision import detect_device, detect_dtype
from tunesmith.models.supported import is_four_bit
from tunesmith.models.text_part import is_whole
from tunesmith.runs.fit import Verified
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.history import read_records

# The default formats of GGUF files: of a model, of an adapter.
MODEL_FORMAT, ADAPTER_FORMAT = "float16", "float32"
FORMATS: dict[str, NumberFormat] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
BASE_GGUF = (
    "BASE.gguf is {base} as GGUF, in 16-bit or quantized by llama.cpp: `tunesmith adapters export` "
    "--to ollama writes it, as model.gguf, beside the adapter."
)
OVER_FOUR_BIT = "It was trained over a 4-bit base; over another one its answers differ."
WITH_MERGED = "Export it with --merged for the model that was trained."
SHOWN = 4  # tensors in a notice
UNDER_SYSTEM = "Begin each conversation with the system message that it was trained under: {system}"
TEXT_ALONE = (
    "The model's file holds the language model alone: what reads images or sound is not in it."
)
WITH_OPTIONS = "Set the chat template's variables that it was trained with: {options}"
OWN_TEMPLATE = "Use the chat template in the adapter's folder: the base has another, or none."
MODEL_FILE, ADAPTER_FILE = "model.gguf", "adapter.gguf"
Quantization = Literal["q8_0"] | KQuant


@dataclass(frozen=True, slots=True)
class ExportJob:
    """An adapter that fits its base, with the output folder and form.

    ``quantize``: the format of a GGUF model's weights in fewer bits. ``into``: which base a merge
    is into, where that is 4-bit.
    """

    verified: Verified
    out: Path
    dtype: str | None
    merged: bool
    trained_over_four_bit: bool
    progress: Progress
    quantize: Quantization | None = None
    into: Into = "trained"

    @property
    def adapter(self) -> Path:
        """The adapter's folder."""
        return self.verified.adapter

    @property
    def base(self) -> Path:
        """The base's folder."""
        return self.verified.base.folder

    @property
    def four_bit(self) -> bool:
        """Whether the base that it was trained over is 4-bit."""
        config = read_config(self.base, trust_remote_code=False)
        return self.trained_over_four_bit or is_four_bit(config)


@dataclass(frozen=True, slots=True)
class ExportedFolder:
    """What reads the folder, whether it holds the whole model, and the next commands."""

    program: Literal["transformers", "peft", "llama.cpp"]
    whole: bool
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()


def write_peft(job: ExportJob) -> ExportedFolder:
    """A folder that PEFT loads."""
    adapter_folder.write_peft(job.adapter, job.out, dtype=_dtype(job.dtype), origin=_origin(job))
    line = f'PeftModel.from_pretrained(base, "{job.out}")'
    return ExportedFolder("peft", False, next=(line,))


def write_vllm(job: ExportJob) -> ExportedFolder:
    """A folder that vLLM and SGLang load with the base; with ``merged`` instead of it."""
    out, base = shlex.quote(str(job.out)), shlex.quote(_known_elsewhere(job))
    if job.merged:
        written = write_merged(job)
        return ExportedFolder("transformers", True, written.notes, (f"vllm serve {out}",))
    rank = adapter_folder.write_vllm(
        job.adapter, job.out, dtype=_dtype(job.dtype), origin=_origin(job)
    )
    notes = ["vLLM itself was not run: PEFT reads the same folder."]
    if job.four_bit:
        notes.append(OVER_FOUR_BIT)
    if entry := find_entry(job.verified.base.name):
        notes.append(
            f"{entry.name} was made from {entry.hub_id}: over the weights of that hub id answers "
            "differ slightly."
        )
    if system := system_of(job.adapter):
        notes.append(UNDER_SYSTEM.format(system=system))
    notes += _template_notes(job)
    command = f"vllm serve {base} --enable-lora --max-lora-rank {rank}"
    line = f"{command} --lora-modules {shlex.quote(job.out.name)}={out}"
    return ExportedFolder("peft", False, tuple(notes), (line,))


def _known_elsewhere(job: ExportJob) -> str:
    """How other programs find the base: by its hub id, else here."""
    name = job.verified.base.name
    is_hub_id = name.count("/") == 1 and not Path(name).expanduser().exists()
    return name if is_hub_id else str(job.base)


def write_merged(job: ExportJob) -> ExportedFolder:
    """A model's folder, with tokenizer, chat template and generation config."""
    merged = _merge(job, job.out, job.dtype)
    line = f"tunesmith chat {shlex.quote(str(job.out))}"
    notes = [merged.sentence()] if merged.four_bit else []
    if system := system_of(job.adapter):
        notes.append(UNDER_SYSTEM.format(system=system))
    return ExportedFolder("transformers", True, tuple(notes), next=(line,))


def write_gguf(job: ExportJob) -> ExportedFolder:
    """adapter.gguf, or model.gguf of the whole model."""
    files.publish(job.out, lambda into: _gguf(job, into), remedy=REMEDY)
    out, base = job.out, job.verified.base.name
    system = system_of(job.adapter)
    asked = f" --system-prompt {shlex.quote(system)}" if system else ""
    if job.merged:
        line = f"llama-cli -m {shlex.quote(str(out / MODEL_FILE))}{asked}"
        return ExportedFolder("llama.cpp", True, _text_alone(job), (line,))
    is_gguf = Path(base).suffix.lower() == ".gguf"
    model = shlex.quote(base) if is_gguf else "BASE.gguf"
    line = f"llama-cli -m {model} --lora {shlex.quote(str(out / ADAPTER_FILE))}{asked}"
    notes = [] if is_gguf else [BASE_GGUF.format(base=base)]
    if job.four_bit:
        notes += [OVER_FOUR_BIT, WITH_MERGED]
    notes += _template_notes(job)
    return ExportedFolder("llama.cpp", False, tuple(notes), (line,))


def write_ollama(job: ExportJob) -> ExportedFolder:
    """The GGUF files and a Modelfile: the base beside the adapter, or the whole model."""

    def fill(into: Path) -> None:
        _gguf(job, into)
        if not job.merged:
            _write_model(job, job.base, into)
        tokenizer = own_tokenizer_of(job) or read_tokenizer(job.base, trust_remote_code=False)
        config = read_config(job.base, trust_remote_code=False)
        ollama.write_modelfile(
            into,
            tokenizer,
            stop_ids_in(job.base, config, tokenizer),
            model=f"./{MODEL_FILE}",
            adapter="" if job.merged else f"./{ADAPTER_FILE}",
            system=system_of(job.adapter) or "",
        )

    files.publish(job.out, fill, remedy=REMEDY)
    name = shlex.quote(job.out.name)
    line = f"ollama create {name} -f {shlex.quote(str(job.out / ollama.FILE))}"
    notes = ["Ollama itself was not run: llama.cpp reads the same files.", *_text_alone(job)]
    if job.four_bit and not job.merged:
        notes += [OVER_FOUR_BIT, WITH_MERGED]
    return ExportedFolder("llama.cpp", job.merged, tuple(notes), (line, f"ollama run {name}"))


def _template_notes(job: ExportJob) -> Iterator[str]:
    """What the base's chat template lacks that the adapter was trained with."""
    if own_tokenizer(job.adapter, read_tokenizer(job.base, trust_remote_code=False)) is not None:
        yield OWN_TEMPLATE
    if options := template_options_of(job.adapter):
        yield WITH_OPTIONS.format(options=json.dumps(dict(options), ensure_ascii=False))


def _text_alone(job: ExportJob) -> tuple[str, ...]:
    """That a GGUF of a whole class lacks what reads images or sound."""
    whole = is_whole(read_config(job.base, trust_remote_code=False))
    return (TEXT_ALONE,) if whole else ()


def own_tokenizer_of(job: ExportJob) -> PreTrainedTokenizerBase | None:
    """What the adapter's rows were rendered with; None where it is what the base's folder holds.

    Tokens or a chat template of its own, and the variables that are set in its template.
    """
    base = read_tokenizer(job.base, trust_remote_code=False)
    own, options = own_tokenizer(job.adapter, base), template_options_of(job.adapter)
    return with_options(own or base, options) if own or options else None


def _gguf(job: ExportJob, into: Path) -> None:
    if not job.merged:
        kind = FORMATS[job.dtype or ADAPTER_FORMAT]
        path = into / ADAPTER_FILE
        write_adapter(job.adapter, job.base, path, number_format=kind, progress=job.progress)
        return
    with tempfile.TemporaryDirectory(prefix=files.TEMPORARY, dir=into) as folder:
        merged = Path(folder, job.out.name)
        _merge(job, merged, job.dtype or MODEL_FORMAT)
        _write_model(job, merged, into)


def _write_model(job: ExportJob, folder: Path, into: Path) -> None:
    path = into / MODEL_FILE
    # a merged model's own template sets them
    own = own_tokenizer_of(job) if folder == job.base else None
    if job.quantize is None or job.quantize == "q8_0":
        number_format = job.quantize or FORMATS[job.dtype or MODEL_FORMAT]
        done = write_model(
            folder, path, number_format=number_format, tokenizer=own, progress=job.progress
        )
        if done.coarser:
            count, some = pluralize(len(done.coarser), "tensor"), ", ".join(done.coarser[:SHOWN])
            what = f"{count} of {path.name} in float16, as 32 does not divide the rows: {some}"
            job.progress.notice("coarser", what)
    else:
        write_k_quant(folder, path, job.quantize, tokenizer=own, progress=job.progress)


def _merge(job: ExportJob, out: Path, dtype: str | None) -> MergedModel:
    """The merged model in ``out``: from the files alone, or over a loaded 4-bit base."""
    number_format = _dtype(dtype) or job.verified.skeleton.compute_dtype
    target = Target(
        out,
        job.into,
        number_format,
        source=job.base,
        origin=_origin(job),
        tokenizer=own_tokenizer_of(job),
    )
    job.progress.phase("Merging the adapter into its base, a tensor at a time.")
    if job.four_bit:
        loaded, adapter = open_in_fp32(job, four_bit=True)
        return merge.save(loaded.engine, adapter, target)
    return merge.save_stored(job.verified.skeleton, job.adapter, target)


def _origin(job: ExportJob) -> Origin:
    """The base by its name of this adapter, as it is here, and the kind of its method."""
    found, base = read_origin(job.adapter), job.verified.base
    if found is None:
        return base.origin(store.settings_of(job.adapter).kind)
    here = base.origin(found.kind)
    hub_id, base_name = found.hub_id or here.hub_id, portable_name(found.base)
    return dataclasses.replace(
        here,
        base=base_name,
        hub_id=hub_id,
        system=found.system,
        template_options=found.template_options,
    )


def open_in_fp32(
    job: ExportJob, *, four_bit: bool, device: str = "auto"
) -> tuple[LoadedBase, Adapter]:
    """The base with the adapter in fp32, so that only the export's number format rounds.

    Its 4-bit copy is the one that was trained over, whose codes depend on the run's number format.
    """
    name, config = job.verified.base.name, read_config(job.base, trust_remote_code=False)
    source = name
    if four_bit and not is_four_bit(config):
        trained = _trained_dtype(job.adapter)
        here = detect_device()
        source = str(quantized(job.base, config, dtype=trained, progress=job.progress, device=here))
    loaded = open_base(source, dtype="float32", device=device, progress=job.progress)
    base = dataclasses.replace(loaded.base, name=name, folder=job.base)
    loaded = dataclasses.replace(loaded, base=base)
    return loaded, attach_folder(loaded, job.adapter, force=True)


def _trained_dtype(adapter: Path) -> torch.dtype:
    """The number format of the run that an adapter lies in; else what a run here would have."""
    run = RunFolder(adapter.resolve().parent)
    recorded = read_records(run.path).environment.get("dtype") if run.config.is_file() else None
    here, _ = detect_dtype("auto", detect_device())
    return _dtype(recorded) or here


def _dtype(name: str | None) -> torch.dtype | None:
    found: torch.dtype | None = None if name is None else getattr(torch, name)
    return found
