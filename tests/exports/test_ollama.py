"""A Modelfile's template writes what the chat template writes, or is refused."""

import re

import pytest

from tests.models.tiny import tiny_tokenizer
from tunesmith.core.errors import ModelError
from tunesmith.data.chat_text import chat_text, given
from tunesmith.data.rows import Message
from tunesmith.exports.ollama import go_template, turns_of, write_modelfile

U, A, V = Message("user", "Hi\nyou"), Message("assistant", "Yes."), Message("user", "And {{ x }}?")
S = Message("system", "Be kind.")
TALKS = {"question": [U], "talk": [U, A, V], "ruled": [S, U], "ruled talk": [S, U, A, V]}

LOOP = "{% for m in messages %}"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = LOOP + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" + ASK
TEMPLATES = {
    "chatml": CHATML,
    "inserted": "{% if messages[0].role != 'system' %}<|im_start|>system\nI am \"it\".<|im_end|>\n"
    "{% endif %}" + CHATML,
    "first token": "{{ bos_token }}" + CHATML,
    "brace": LOOP + "<|im_start|>{{ m.role }} {{ '{' }}{{ m.content }}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {{ '{' }}{% endif %}",
    "inside": "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}<start>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{% if loop.first %}{{ first }}{% endif %}{{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<start>model\n{% endif %}",
    "inst": LOOP + "{% if m.role == 'system' %}{% elif m.role == 'user' %}[INST] "
    "{% if loop.index == 2 and messages[0].role == 'system' %}<<SYS>>\n"
    "{{ messages[0].content }}\n<</SYS>>\n\n{% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}",
    "no system": "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    + CHATML,
    "odd letters": '{% for m in messages %}{{ "{{" }}""" \u200b{{ m.role }}\t{{ m.content }}}}'
    "{% endfor %}" + ASK,
}


def tokenizer_with(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def go(template, messages):
    """What Go's text/template writes, for the few actions that are used; without trim marks."""
    system = "\n\n".join(m.content for m in messages if m.role == "system")
    parts = re.split(r"\{\{(.*?)\}\}", template, flags=re.S)
    tree, rest = _parse(parts, 0)
    assert rest == len(parts)
    return _run(tree, {"messages": messages, "system": system})


def _parse(parts, at):
    nodes = []
    while at < len(parts):
        if at % 2 == 0:
            nodes.append(("text", parts[at]))
            at += 1
            continue
        action = parts[at].strip()
        if action == "end" or action.startswith("else"):
            return nodes, at
        if action.startswith(("if ", "range ")):
            branches, condition = [], action
            while True:
                body, at = _parse(parts, at + 1)
                branches.append((condition, body))
                condition = parts[at].strip()
                if condition == "end":
                    break
            nodes.append(("branch", branches))
        else:
            nodes.append(("value", action))
        at += 1
    return nodes, at


def _run(nodes, scope):
    return "".join(_node(kind, value, scope) for kind, value in nodes)


def _node(kind, value, scope):
    if kind == "text":
        return value
    if kind == "value":
        return _value(value, scope)
    for condition, body in value:
        if condition == "range $i, $m := .Messages":
            pairs = enumerate(scope["messages"])
            return "".join(_run(body, {**scope, "i": i, "m": m}) for i, m in pairs)
        if _holds(condition.removeprefix("else ").removeprefix("if "), scope):
            return _run(body, scope)
    return ""


def _value(action, scope):
    if action.startswith('"'):
        return re.sub(
            r"\\U([0-9a-f]{8})|\\(.)",
            lambda m: chr(int(m[1], 16)) if m[1] else m[2],
            action[1:-1],
        )
    return {"$m.Content": scope["m"].content, "$.System": scope["system"]}[action]


def _holds(condition, scope):
    if condition == "else":
        return True
    if condition == "not .System":
        return not scope["system"]
    if condition == "and $.System (eq $i 1)":
        return bool(scope["system"]) and scope["i"] == 1
    role = re.fullmatch(r'eq \$m\.Role "(\w+)"', condition)
    return scope["m"].role == role[1]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_template_in_ollamas_language_writes_the_same_bytes(name, talk):
    tokenizer, messages = tokenizer_with(TEMPLATES[name]), TALKS[talk]
    turns = turns_of(tokenizer)
    if messages[0].role == "system" and turns.system is None:
        assert name == "no system"
        return
    expected = chat_text(tokenizer, given(messages), prompt=True)
    assert turns.text(messages) == expected
    assert go(go_template(turns), messages) == expected


def test_the_first_token_is_left_to_ollama_where_the_file_asks_for_it():
    turns = turns_of(tokenizer_with(TEMPLATES["first token"]), without="<|im_start|>")
    whole = chat_text(tokenizer_with(TEMPLATES["first token"]), given([S, U]), prompt=True)
    assert "<|im_start|>" + go(go_template(turns), [S, U]) == whole


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ loop.index }}: {{ m.content }}\n{% endfor %}",
        "{% for m in messages %}{{ m.role }}: {{ m.content | upper }}\n{% endfor %}",
        "{{ messages | length }}{{ messages[0].content }}",
        "{{ nothing.at.all }}",
    ],
)
def test_a_template_that_is_no_sequence_of_turns_is_refused(template):
    with pytest.raises(ModelError, match="more ways than by its role"):
        turns_of(tokenizer_with(template))


def test_a_modelfile_names_model_adapter_system_and_stops(tmp_path):
    path = write_modelfile(
        tmp_path,
        tokenizer_with(CHATML),
        frozenset({2, 0}),
        model="./model.gguf",
        adapter="./adapter.gguf",
        system='Say "no".\nAlways',
    )
    text = path.read_text()
    assert path.name == "Modelfile"
    assert text.startswith('FROM ./model.gguf\nADAPTER ./adapter.gguf\nTEMPLATE """{{ range')
    assert 'SYSTEM """Say "no".\nAlways"""\n' in text
    stops = re.findall(r'PARAMETER stop """(.*?)"""', text)
    assert stops == ["<|endoftext|>", "<|im_end|>"]


@pytest.mark.parametrize("system", ['a """ b', "a\u200bb"])
def test_a_system_prompt_that_a_modelfile_would_lose_is_refused(system, tmp_path):
    with pytest.raises(ModelError, match="which a Modelfile cannot hold"):
        write_modelfile(tmp_path, tokenizer_with(CHATML), frozenset({2}), model="m", system=system)
