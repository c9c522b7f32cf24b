"""How a question with sources is put to a model: the same for training, evaluation and serving."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.data.chat_format import ChatFormat, study
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import Tokenizer, encode
from tunesmith.rag.prompt import Prompt, build_prompt

TEMPLATE_TOKENS = 64  # what a chat template writes around a system prompt and a question


@dataclass(frozen=True, slots=True)
class SourcesPrompt:
    """Prompts for one tokenizer, of at most ``most_tokens`` with the template."""

    tokenizer: Tokenizer
    format: ChatFormat
    most_tokens: int

    def __call__(self, question: str, passages: Sequence[tuple[str, str]]) -> Prompt:
        """What the model is told, given (place, text) of passages; RagError where none fits."""
        return build_prompt(
            question,
            passages,
            most_tokens=self.most_tokens,
            count=lambda text: len(encode(self.tokenizer, [text])[0]),
            control=self.format.control,
            template_tokens=TEMPLATE_TOKENS,
        )

    def messages(self, prompt: Prompt) -> tuple[Message, ...]:
        """The same as turns of a conversation, as the model's chat template takes them."""
        turns = prompt.messages(keeps_system=self.format.keeps_system)
        return tuple(Message(role, text) for role, text in turns)


def sources_prompt(tokenizer: Tokenizer, *, most_tokens: int) -> SourcesPrompt:
    """Prompts for a tokenizer; raises DataError where it has no chat template."""
    return SourcesPrompt(tokenizer, study(tokenizer), most_tokens)
