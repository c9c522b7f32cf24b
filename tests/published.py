"""Published figures of memory, and what the plan's functions say of the same on paper."""

from dataclasses import dataclass

from tunesmith.config.methods import AnyMethod, FullSettings, LoraSettings
from tunesmith.estimate.memory import Setup, memory_of
from tunesmith.methods.sizes import trained_size
from tunesmith.runs.plan import known_shapes

WITHIN = 0.15
GIB = 2**30
PAPER = "QLoRA paper (arXiv 2305.14314), tables 6 and 7"
UNSLOTH = "Unsloth, requirements page"
FACTORY = "LLaMA-Factory, README, hardware table"
WIKI = "LLaMA-Factory wiki, performance comparison (measured, A100)"


@dataclass(frozen=True, slots=True)
class Published:
    """One figure: GB as published, and the reason where ours is not within 15 % of it.

    ``logits``: bytes that the other program holds for each token and entry of the vocabulary, which
    are added: here full logits never exist.
    """

    source: str
    model: str
    method: str
    gigabytes: float
    tokens: int
    rank: int = 16
    document: int = 0
    logits: int = 0
    reason: str = ""

    @property
    def ours(self) -> float:
        """What the functions say, in GB."""
        shape = known_shapes()[self.model]
        setup = Setup(
            tokens=self.tokens,
            document=self.document or self.tokens,
            supervised=1.0,
            four_bit=self.method == "qlora",
            recompute="layers",
            device="cuda",
            flash=True,
        )
        found = memory_of(shape, trained_size(self._settings(), shape), setup).total
        return (found + self.logits * self.tokens * shape.vocabulary) / 1e9

    def _settings(self) -> AnyMethod:
        if self.method == "full":
            return FullSettings()
        return LoraSettings(kind="qlora" if self.method == "qlora" else "lora", rank=self.rank)

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.ours / self.gigabytes


_DENSE = "embedding and head stay 16-bit here; the page's figure is below the 4-bit weights alone"
_ROUND = "the page's figure is a rule of about 2.4 GB a billion weights, without lengths"
_CARDS = "rounded up to sizes of cards"
_EXPERTS = "experts stay 16-bit here"
_OFFLOAD = "Unsloth moves what layers keep to the host"
_HEAD = 10  # logits in bfloat16 and twice in fp32

PUBLISHED = (
    Published(PAPER, "llama-2-7b", "qlora", 5, 512),
    Published(PAPER, "llama-2-13b", "qlora", 10, 512),
    Published(PAPER, "llama-30b", "qlora", 21, 512),
    Published(PAPER, "llama-65b", "qlora", 41, 512),
    Published(WIKI, "llama-2-7b", "lora", 17, 4096, 8, 1024, _HEAD),
    Published(WIKI, "llama-2-7b", "qlora", 6, 1024, 8, logits=_HEAD),
    Published(WIKI, "llama-2-7b", "qlora", 7, 2048, 8, logits=_HEAD),
    Published(WIKI, "llama-2-7b", "qlora", 9, 4096, 8, logits=_HEAD),
    Published(WIKI, "llama-2-7b", "qlora", 12, 8192, 8, logits=_HEAD),
    Published(WIKI, "llama-2-7b", "qlora", 19, 16_384, 8, logits=_HEAD),
    Published(WIKI, "llama-2-7b", "qlora", 32, 32_768, 8, logits=_HEAD),
    Published(f"{WIKI}, with Unsloth", "llama-2-7b", "qlora", 5, 1024, 8),
    Published(f"{WIKI}, with Unsloth", "llama-2-7b", "qlora", 7, 4096, 8),
    Published(f"{WIKI}, with Unsloth", "llama-2-7b", "qlora", 8, 8192, 8),
    Published(f"{WIKI}, with Unsloth", "llama-2-7b", "qlora", 16, 32_768, 8, reason=_OFFLOAD),
    Published(UNSLOTH, "llama-3.2-3b-instruct", "qlora", 3.5, 512),
    Published(UNSLOTH, "llama-2-7b", "qlora", 5, 512),
    Published(UNSLOTH, "llama-3.1-8b", "qlora", 6, 512, reason=_DENSE),
    Published(UNSLOTH, "qwen3-14b", "qlora", 8.5, 512, reason=_DENSE),
    Published(UNSLOTH, "qwen3-32b", "qlora", 26, 2048),
    Published(UNSLOTH, "llama-3.1-70b", "qlora", 41, 512),
    Published(UNSLOTH, "llama-3.1-405b", "qlora", 237, 2048),
    Published(UNSLOTH, "llama-3.2-3b-instruct", "lora", 8, 2048),
    Published(UNSLOTH, "llama-2-7b", "lora", 19, 2048, reason=_ROUND),
    Published(UNSLOTH, "llama-3.1-8b", "lora", 22, 2048, reason=_ROUND),
    Published(UNSLOTH, "qwen3-14b", "lora", 33, 2048),
    Published(UNSLOTH, "qwen3-32b", "lora", 76, 2048),
    Published(UNSLOTH, "llama-3.1-70b", "lora", 164, 2048),
    Published(UNSLOTH, "llama-3.1-405b", "lora", 950, 2048),
    Published(FACTORY, "llama-2-7b", "full", 120, 1024),
    Published(FACTORY, "llama-2-13b", "full", 240, 1024),
    Published(FACTORY, "llama-30b", "full", 600, 1024),
    Published(FACTORY, "llama-65b", "full", 1200, 1024),
    Published(FACTORY, "llama-2-7b", "lora", 16, 1024, 8),
    Published(FACTORY, "llama-2-13b", "lora", 32, 1024, 8),
    Published(FACTORY, "llama-30b", "lora", 80, 1024, 8, reason=_CARDS),
    Published(FACTORY, "llama-65b", "lora", 160, 1024, 8, reason=_CARDS),
    Published(FACTORY, "llama-2-7b", "qlora", 6, 1024, 8, reason=_CARDS),
    Published(FACTORY, "llama-2-13b", "qlora", 12, 1024, 8, reason=_CARDS),
    Published(FACTORY, "llama-30b", "qlora", 24, 1024, 8, reason=_CARDS),
    Published(FACTORY, "llama-65b", "qlora", 48, 1024, 8, reason=_CARDS),
    Published(FACTORY, "mixtral-8x7b", "qlora", 32, 1024, 8, reason=_EXPERTS),
)
