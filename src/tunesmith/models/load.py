"""A base as the rest of the program holds it: frozen model, tokenizer, number format, device."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GenerationConfig,
    Mxfp4Config,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.models.four_bit import quantized, require_kernels
from tunesmith.models.in_memory import held_model
from tunesmith.models.precision import DtypeChoice, detect_device, detect_dtype
from tunesmith.models.quiet import no_progress_bars, quiet_transformers
from tunesmith.models.resolve import resolve
from tunesmith.models.supported import check_config, is_four_bit, is_mxfp4
from tunesmith.models.text_part import is_whole, loader_of, remove_towers_, towers_of

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<turn|>")
_ANSWER_ENDS = ("<|return|>", "<|call|>")  # of gpt-oss, where <|end|> only ends a message in it
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(slots=True)
class Base:
    """A base model that is never changed, with its tokenizer, number format and device."""

    name: str
    folder: Path  # of the base as given, also where a 4-bit copy of it is loaded
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    device: torch.device
    notes: tuple[str, ...]
    adapters_stop_ids: frozenset[int] = frozenset()  # of chat templates that adapters bring

    @property
    def context(self) -> int:
        """The longest document, in tokens, that the config allows."""
        return context_of(self.model.config, self.folder)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer: of the generation config, config, tokenizer and template."""
        generation = getattr(self.model, "generation_config", None)
        own = stop_ids_of(self.model.config, self.tokenizer, generation)
        return own | self.adapters_stop_ids


def load_base(
    name: str,
    *,
    dtype: DtypeChoice = "auto",
    device: str = "auto",
    four_bit: bool = False,
    trust_remote_code: bool = False,
    progress: Progress = SILENT,
) -> Base:
    """The base of this name, in eval mode, on the device, without gradients.

    With ``four_bit`` its linear layers are in NF4: quantized once into the cache, unless they are
    already. Raises ModelError for every obstacle, before weights are read where possible.
    """
    on = detect_device(device)
    number, reason = detect_dtype(dtype, on)
    folder = resolve(name, trust_remote_code=trust_remote_code, progress=progress)
    if not four_bit and (held := held_model(folder)) is not None:
        model = _placed(held.structure(), on, number)
        return Base(name, folder, model, held.tokenizer, number, on, (reason,))
    notes = [reason]
    with no_progress_bars():
        config = read_config(folder, trust_remote_code=trust_remote_code)
        check_config(config, folder)
        tokenizer = read_tokenizer(folder, trust_remote_code=trust_remote_code)
        weights = folder
        if is_mxfp4(config):
            notes.append("the base's experts are dequantized from MXFP4")
        if is_four_bit(config):
            require_kernels(on)
            notes.append("the base's linear layers are 4-bit, as in its folder")
        elif four_bit:
            weights = quantized(folder, config, dtype=number, progress=progress, device=on)
            config = read_config(weights, trust_remote_code=trust_remote_code)
            notes.append("the base's linear layers are 4-bit (NF4, double quantization)")
        model, unused = _model(
            weights, config, dtype=number, device=on, trust_remote_code=trust_remote_code
        )
    if towers := towers_of(model).modules:
        notes.append(f"not loaded, as rows are text: {', '.join(towers)}")
    if unused:
        count = pluralize(len(unused), "tensor")
        notes.append(f"not used: {count} of the files: {', '.join(unused[:4])}")
    rows = len(model.get_input_embeddings().weight)
    if (highest := max(tokenizer.get_vocab().values())) >= rows:
        notes.append(f"the tokenizer has ids up to {highest}, the model only below {rows}")
    model.requires_grad_(False).eval()
    if not is_four_bit(config):
        model.to(on)
    return Base(name, folder, model, tokenizer, number, on, tuple(notes))


def config_of(
    name: str, *, trust_remote_code: bool = False, progress: Progress = SILENT
) -> PretrainedConfig:
    """The config of a base by its name; ModelError where it is none that continues a text."""
    folder = resolve(name, trust_remote_code=trust_remote_code, progress=progress)
    if (held := held_model(folder)) is not None:
        return held.structure().config
    with no_progress_bars():
        config = read_config(folder, trust_remote_code=trust_remote_code)
    check_config(config, folder)
    return config


def read_config(folder: Path, *, trust_remote_code: bool) -> PretrainedConfig:
    """The config of a base's folder; ModelError where it cannot be used."""
    try:
        return AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (ValueError, OSError, KeyError, TypeError) as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{folder}: the base brings Python code of its own, which would run here.",
                remedy="Read that code, then give --trust_remote_code true, or use another base.",
            ) from error
        raise ModelError(f"{folder}/config.json: cannot be used: {error}") from error


def holds_tokenizer(folder: Path) -> bool:
    """Whether the files of a tokenizer are in a folder."""
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def read_tokenizer(folder: Path, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a base's folder; ModelError where it is missing or damaged."""
    # Without its files transformers makes an empty tokenizer instead of an error.
    if not holds_tokenizer(folder):
        raise ModelError(
            f"{folder}: holds no tokenizer ({', '.join(_TOKENIZER_FILES)}).",
            remedy="Copy the tokenizer files of the model it was made from into it.",
        )
    try:
        return AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except Exception as error:  # its reader in Rust raises plain Exception
        raise ModelError(f"{folder}: the tokenizer cannot be read: {error}") from error


def _model(
    folder: Path,
    config: PretrainedConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
    trust_remote_code: bool,
) -> tuple[PreTrainedModel, list[str]]:
    """The language model, and the names of tensors in its files that its class has no place for."""
    mxfp4 = is_mxfp4(config)
    on_device = is_four_bit(config) or device.type != "cpu"
    quiet = quiet_transformers() if mxfp4 else nullcontext()  # it warns that it is dequantized
    try:
        with quiet:
            model, report = loader_of(config).from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                attn_implementation="eager",
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
                quantization_config=Mxfp4Config(dequantize=True) if mxfp4 else None,
                # a 4-bit weight is read where it is used; others need not pass through the host
                device_map={"": str(device)} if on_device else None,
            )
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise ModelError(f"{folder}: the weights cannot be loaded: {error}") from error
    if is_four_bit(config) or mxfp4:
        model._weight_conversions = None  # of the quantized files; what is saved is dense
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{folder}: its files lack {pluralize(len(missing), 'tensor')} of the model: "
            f"{', '.join(missing[:4])}.",
            remedy="config.json and weights do not belong together, or a file is missing.",
        )
    return model, sorted(report["unexpected_keys"])


# These choose frequencies by the longest position of a call, so that a document would depend on
# its neighbours; below their original length they do not.
_LENGTH_DEPENDENT_ROTARY = frozenset({"dynamic", "longrope"})


def longest_safe_position(config: PretrainedConfig) -> int | None:
    """Positions below which rotary frequencies do not depend on the call; None: always."""
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [parameters, *(v for v in parameters.values() if isinstance(v, dict))]
    if not any(kind.get("rope_type") in _LENGTH_DEPENDENT_ROTARY for kind in kinds):
        return None
    limits = [kind.get("original_max_position_embeddings") for kind in kinds]
    limits.append(getattr(config, "original_max_position_embeddings", None))
    known = [int(limit) for limit in limits if limit]
    return min(known) if known else int(config.max_position_embeddings)


def _placed(model: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A model in memory, its language model alone, where and in which format it is used."""
    if is_whole(model.config):
        remove_towers_(model)
    model.to(device=device).eval()
    for parameter in model.parameters():  # no buffers: rotary frequencies stay exact
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    return model


def context_of(config: PretrainedConfig, folder: Path) -> int:
    """The longest document that a config allows, and whose positions depend on nothing else."""
    text = config.get_text_config()
    lengths = [n for key in _CONTEXT_KEYS if isinstance(n := getattr(text, key, None), int)]
    if not lengths:
        raise ModelError(f"{folder}/config.json: names no longest document.")
    return min(lengths[0], longest_safe_position(text) or lengths[0])


def stop_ids_of(
    config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, generation: object = None
) -> frozenset[int]:
    """Tokens that end an answer: of the generation config, config, tokenizer and template."""
    given = [getattr(each, "eos_token_id", None) for each in (generation, config.get_text_config())]
    lists = [ids if isinstance(ids, list) else [ids] for ids in (*given, tokenizer.eos_token_id)]
    return frozenset(i for ids in lists for i in ids if i is not None) | _turn_ends(tokenizer)


def stop_ids_in(
    folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    """The same of a base's folder, whose generation config may be missing."""
    has_own = (folder / "generation_config.json").is_file()
    own = GenerationConfig.from_pretrained(folder) if has_own else None
    return stop_ids_of(config, tokenizer, own)


def _turn_ends(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Special tokens with which the chat template ends a turn, whatever the configs call them."""
    template = str(tokenizer.chat_template or "")
    added = {str(token): i for i, token in tokenizer.added_tokens_decoder.items()}
    ends = _ANSWER_ENDS if _ANSWER_ENDS[0] in template else _TURN_ENDS
    return frozenset(added[end] for end in ends if end in added and end in template)
