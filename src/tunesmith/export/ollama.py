"""An Ollama Modelfile: the model or adapter, the chat template in Ollama's language, the stops."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tunesmith import files
from tunesmith.data.tokenizer import decode
from tunesmith.errors import ModelError
from tunesmith.export.gguf_vocabulary import adds_first
from tunesmith.export.turns import Around, Turns, turns_of

FILE = "Modelfile"
QUOTES = '"""'


def write_modelfile(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    stop_ids: frozenset[int],
    *,
    model: str,
    adapter: str = "",
    system: str = "",
) -> Path:
    """Write ``folder``/Modelfile, for `ollama create NAME -f Modelfile`.

    ``model`` is a GGUF file beside it or the name of one that Ollama has, ``adapter`` a GGUF file
    beside it. ``system`` is the system prompt of conversations that bring none; the template's own
    holds where that is empty. Raises ModelError for a template that Ollama's language cannot say.
    """
    # Ollama puts the first token in front of every prompt where the GGUF file says so.
    first = (tokenizer.bos_token or "") if adds_first(tokenizer) else ""
    template = go_template(turns_of(tokenizer, without=first))
    lines = [f"FROM {model}", *([f"ADAPTER {adapter}"] if adapter else [])]
    lines.append(f"TEMPLATE {QUOTES}{template}{QUOTES}")
    if system:
        lines.append(f"SYSTEM {_quoted(system, 'system prompt')}")
    ends = stops(tokenizer, stop_ids)
    lines += [f"PARAMETER stop {_quoted(end, 'text that ends an answer')}" for end in ends]
    path = folder / FILE
    files.write_text(path, "\n".join(lines) + "\n")
    return path


def stops(tokenizer: PreTrainedTokenizerBase, stop_ids: frozenset[int]) -> Sequence[str]:
    """The texts of the tokens that end an answer."""
    return [decode(tokenizer, [i]) for i in sorted(stop_ids)]


def go_template(turns: Turns) -> str:
    """The turns in the language of Go's text/template, with the values that Ollama gives it."""
    user = _around(turns.user, "$m.Content")
    opening = _literal(turns.opening)
    head, branch = opening, ""
    if turns.system is not None:
        head = f"{{{{ if not .System }}}}{opening}{{{{ end }}}}" if opening else ""
        if turns.inside:
            user = _with_system(turns.user, turns.system)
        else:
            system = _around(turns.system, "$m.Content")
            branch = f'{{{{ else if eq $m.Role "system" }}}}{system}'
    assistant = _around(turns.assistant, "$m.Content")
    return (
        f'{head}{{{{ range $i, $m := .Messages }}}}{{{{ if eq $m.Role "user" }}}}{user}'
        f'{{{{ else if eq $m.Role "assistant" }}}}{assistant}{branch}{{{{ end }}}}{{{{ end }}}}'
        f"{_literal(turns.ask)}"
    )


def _with_system(user: Around, system: Around) -> str:
    """A user turn that holds the system message where it comes second, behind that message."""
    told = _around(system, "$.System")
    begun = f"{{{{ if and $.System (eq $i 1) }}}}{told}{{{{ else }}}}{_literal(user.before)}"
    return f"{begun}{{{{ end }}}}{{{{ $m.Content }}}}{_literal(user.behind)}"


def _around(around: Around, value: str) -> str:
    return f"{_literal(around.before)}{{{{ {value} }}}}{_literal(around.behind)}"


def _literal(text: str) -> str:
    """Text as it stands in a template: braces, quotes and what Ollama would drop are escaped."""
    escaped = text.replace("{{", "\0").replace(QUOTES, "\1")
    if escaped.endswith("{"):  # it would meet the braces of what comes next
        escaped = f"{escaped[:-1]}\2"
    special = {"\0": '{{ "{{" }}', "\1": '{{ "\\"\\"\\"" }}', "\2": '{{ "{" }}'}
    shown = (special.get(letter) or _letter(letter) for letter in escaped)
    return "".join(shown)


def _letter(letter: str) -> str:
    # Ollama's reader leaves out letters that cannot be printed, but for white space of these kinds.
    if letter.isprintable() or letter in "\n\t":
        return letter
    return f'{{{{ "\\U{ord(letter):08x}" }}}}'


def _quoted(text: str, what: str) -> str:
    """Text in a Modelfile outside the template; ModelError for what cannot stand there."""
    lost = sorted({c for c in text if not c.isprintable() and c not in "\n\t"})
    if QUOTES in text or lost:
        shown = ", ".join(f"U+{ord(c):04X}" for c in lost) or QUOTES
        raise ModelError(
            f"The {what} holds {shown}, which a Modelfile cannot hold.",
            remedy="Send it with each conversation instead." if what == "system prompt" else "",
        )
    return f"{QUOTES}{text}{QUOTES}"
