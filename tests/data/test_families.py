"""Masks of model families: what is trained is the answer and its end-of-turn token, to a character.

Each family's own chat template, with its special tokens (`tests/data/families.py`).
"""

import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.data.families import APERTUS_8B, FAMILIES, PHI4_REASONING, QWEN3_5
from tests.data.tiny import documents_of, is_clean, supervised_runs
from tests.source import ROOT, SRC
from tunesmith.core.errors import DataError
from tunesmith.data.chat_format import study
from tunesmith.data.chat_text import chat_text, with_options
from tunesmith.data.chat_text import given as given_chat
from tunesmith.data.rows import Conversation, Message, ToolCall
from tunesmith.data.template import Rendering, render_each, render_prompt

ROW, APART = Rendering(), Rendering(document="answer")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(is_clean)
quick = settings(max_examples=10, deadline=None, derandomize=True)

# What stands in front of an answer, and is said by the model: the prompt ends before it.
EMPTY = "<think>\n\n</think>\n\n"
FINAL = "<|channel|>final<|message|>"
OPENS = {"qwen3": EMPTY, "qwq": "</think>\n\n", "deepseek_r1_distill": "</think>\n\n"}
OPENS |= {"gpt_oss": FINAL}
# These write an answer in another way once a later one follows.
STRIPS = sorted(OPENS.keys() | {"qwen3_5_small"})
TOGETHER = sorted(FAMILIES.keys() - set(STRIPS))
KEEPS = ("granite3_3", "smollm3", "seed_oss")  # the thinking of earlier answers
SYSTEMLESS = "gemma2"

CITY = {"city": "Zürich"}
CALL = ToolCall("get_weather", CITY, id="abcdefghi")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Where."}},
            "required": ["city"],
        },
    },
}
JSON_CALL = '{"name": "get_weather", "%s": {"city": "Zürich"}}'
QWEN_CALL = f"<tool_call>\n{JSON_CALL % 'arguments'}\n</tool_call><|im_end|>"
PARAMETERS = "<function=get_weather>\n<parameter=city>%sZürich%s</parameter>\n</function>\n"
IN_LINES = PARAMETERS % ("\n", "\n")
CALLS = {
    "qwen3_5_small": f"<tool_call>\n{IN_LINES}</tool_call><|im_end|>",
    "seed_oss": f"<seed:tool_call>\n{PARAMETERS % ('', '')}</seed:tool_call><seed:eos>",
    "granite4": f"<tool_call>\n{JSON_CALL % 'arguments'}\n</tool_call><|end_of_text|>",
    "ministral3": '[TOOL_CALLS]get_weather[ARGS]{"city": "Zürich"}</s>',
    "gemma4": '<|tool_call>call:get_weather{city:<|"|>Zürich<|"|>}<tool_call|><|tool_response>',
    "llama3_1": JSON_CALL % "parameters" + "<|eot_id|>",
    "llama3_2": JSON_CALL % "parameters" + "<|eot_id|>",
    "qwen2_5": QWEN_CALL,
    "qwen3": EMPTY + QWEN_CALL,
    "qwq": "</think>\n\n" + QWEN_CALL,
    "mistral_nemo": f"[TOOL_CALLS][{(JSON_CALL % 'arguments')[:-1]}, " + '"id": "abcdefghi"}]</s>',
    "gpt_oss": " to=functions.get_weather<|channel|>commentary json<|message|>"
    '{"city": "Zürich"}<|call|>',
}
THOUGHT = {
    "smollm3": "<think>\nhm, 42\n</think>\n\n",
    "seed_oss": "<seed:think>hm, 42</seed:think>\n",
    "gemma4": "<|channel>thought\nhm, 42\n<channel|>",
    "qwen3": "<think>\nhm, 42\n</think>\n\n",
    "qwq": "hm, 42\n</think>\n\n",
    "deepseek_r1_distill": "hm, 42\n</think>\n\n",
    "granite3_3": "<think>\nhm, 42\n</think>\n\n",
    "gpt_oss": "<|channel|>analysis<|message|>hm, 42<|end|><|start|>assistant" + FINAL,
}


@functools.cache
def format_of(name):
    return study(FAMILIES[name].tokenizer)


def rendered(name, *messages, tools=(), how=ROW):
    row = Conversation(messages, "rows.jsonl", 7, tools=tools)
    return documents_of(render_each(FAMILIES[name].tokenizer, [row], format_of(name), how))


def trained(name, documents):
    """The supervised text of each document; fails where one is faulty."""
    faults = [str(fault) for each in documents for fault in each.faults]
    assert faults == []
    return [supervised_runs(FAMILIES[name].tokenizer, each.row) for each in documents]


def fault_of(name, *messages, **options):
    faults = {fault for each in rendered(name, *messages, **options) for fault in each.faults}
    return {(fault.code, fault.line): fault for fault in faults}


def said(name, answer):
    return OPENS.get(name, "") + answer + FAMILIES[name].end


def talk(contents, system=None):
    roles = ("user", "assistant")
    turns = [Message(roles[i % 2], content) for i, content in enumerate(contents)]
    return [*([] if system is None else [Message("system", system)]), *turns]


@pytest.mark.parametrize("system", [None, "", "be brief"])
@pytest.mark.parametrize("name", sorted(FAMILIES))
@given(contents=st.lists(WORDS, min_size=4, max_size=4))
@quick
def test_each_answer_and_its_end_are_trained_behind_the_prompt_that_is_served(
    name, system, contents
):
    messages = talk(contents, None if name == SYSTEMLESS else system)
    documents = rendered(name, *messages, how=APART)
    answers = [contents[1], contents[3]]
    assert trained(name, documents) == [[said(name, answer)] for answer in answers]
    tokenizer = FAMILIES[name].tokenizer
    for each, until in zip(documents, (-3, -1), strict=True):
        prompt = render_prompt(tokenizer, messages[:until], chat_format=format_of(name))
        first = int(np.flatnonzero(each.row.weights)[0])
        assert each.row.ids[:first].tolist() == prompt


@pytest.mark.parametrize("system", [None, "", "be brief"])
@pytest.mark.parametrize("name", TOGETHER)
@given(contents=st.lists(WORDS, min_size=6, max_size=6))
@quick
def test_all_answers_of_a_row_and_their_ends_are_trained(name, system, contents):
    no_system = name in (SYSTEMLESS, "mistral_nemo")
    documents = rendered(name, *talk(contents, None if no_system else system))
    assert trained(name, documents) == [[said(name, answer) for answer in contents[1::2]]]


@pytest.mark.parametrize("name", STRIPS)
def test_templates_that_write_earlier_answers_in_another_way_are_named(name):
    faults = fault_of(name, *talk(["q", "a", "p", "b"]))
    fault = faults["not_prefix_preserving", 7]
    assert "--data.document answer" in fault.remedy
    strips = "strips the thinking" in fault.message
    assert strips == (name != "gpt_oss")
    if name == "gpt_oss":
        assert "<|return|>" in fault.message


@pytest.mark.parametrize("name", sorted(THOUGHT))
def test_thinking_of_each_answer_is_trained_and_stripped_from_those_before(name):
    messages = talk(["q", "a", "p", "b"])
    messages[1] = Message("assistant", "a", thinking="hm, 41")
    messages[3] = Message("assistant", "b", thinking="hm, 42")
    documents = rendered(name, *messages, how=APART)
    first, second = THOUGHT[name].replace("42", "41"), THOUGHT[name]
    end = FAMILIES[name].end
    assert trained(name, documents) == [[f"{first}a{end}"], [f"{second}b{end}"]]
    text = FAMILIES[name].tokenizer.decode(documents[1].row.ids)
    assert ("hm, 41" in text) == (name in KEEPS)
    noted = {note.code for note in documents[0].notes}
    assert ("thinking_left_out" in noted) == (name not in KEEPS)
    assert "answers_apart" in noted


@pytest.mark.parametrize("name", sorted(each for each in THOUGHT if "</think>" in THOUGHT[each]))
def test_thinking_may_stand_in_the_content(name):
    field = rendered(name, *talk("q"), Message("assistant", "a", thinking="hm, 42"), how=APART)
    content = Message("assistant", "<think>\nhm, 42\n</think>\n\na")
    inline = rendered(name, *talk("q"), content, how=APART)
    assert trained(name, inline) == trained(name, field)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - THOUGHT.keys() - {"qwen3_5_small"}))
def test_thinking_is_refused_where_the_template_has_no_place_for_it(name):
    thinking = Message("assistant", "a", thinking="hm")
    assert fault_of(name, *talk("q"), thinking).keys() == {("thinking_ignored", 7)}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_call_and_its_end_are_trained_and_its_result_is_only_read(name):
    messages = [
        *talk("q"),
        Message("assistant", "", tool_calls=(CALL,)),
        Message("tool", '{"°C": 22}', tool_call_id="abcdefghi", name="get_weather"),
        Message("assistant", "warm"),
    ]
    documents = rendered(name, *messages, tools=(TOOL,), how=APART)
    assert trained(name, documents) == [[CALLS[name]], [said(name, "warm")]]
    text = FAMILIES[name].tokenizer.decode(documents[1].row.ids)
    result = '{\\"°C\\": 22}' if name in ("llama3_1", "llama3_2", "gpt_oss") else '{"°C": 22}'
    assert "The weather." in text
    assert result in text
    if name not in ("qwen3", "qwq"):
        (together,) = trained(name, rendered(name, *messages, tools=(TOOL,)))
        assert together == [CALLS[name], said(name, "warm")]


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_prompt_with_tools_and_results_is_the_one_of_training(name):
    messages = [
        *talk("q"),
        Message("assistant", "", tool_calls=(CALL,)),
        Message("tool", "22", tool_call_id="abcdefghi", name="get_weather"),
        Message("assistant", "warm"),
    ]
    tokenizer = FAMILIES[name].tokenizer
    documents = rendered(name, *messages, tools=(TOOL,), how=APART)
    for each, until in zip(documents, (1, 3), strict=True):
        first = int(np.flatnonzero(each.row.weights)[0])
        assert each.row.ids[:first].tolist() == render_prompt(tokenizer, messages[:until], [TOOL])


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - CALLS.keys()))
def test_tools_and_calls_are_refused_where_the_template_leaves_them_out(name):
    asking = [*talk("q"), Message("assistant", "", tool_calls=(CALL,))]
    assert ("tool_calls_ignored", 7) in fault_of(name, *asking)
    faults = fault_of(name, *talk("qa"), tools=(TOOL,))
    if name != "granite3_3":  # which writes tools, and takes calls as text only
        assert "same text with and without" in faults["tools_ignored", 7].message


def test_what_a_template_drops_of_one_row_is_told():
    with_words = Message("assistant", "Let me see.", tool_calls=(CALL,))
    for name in ("llama3_1", "mistral_nemo"):
        assert fault_of(name, *talk("q"), with_words).keys() == {("content_ignored", 7)}
    assert trained("qwen2_5", rendered("qwen2_5", *talk("q"), with_words)) == [
        ["Let me see.\n" + QWEN_CALL]
    ]
    other = ToolCall("get_weather", {"city": "Bern"}, id="abcdefghj")
    two = Message("assistant", "", tool_calls=(CALL, other))
    assert fault_of("gpt_oss", *talk("q"), two).keys() == {("tool_calls_ignored", 7)}
    result = [
        *talk("q"),
        Message("assistant", "a"),
        Message("tool", "22"),
        Message("assistant", "b"),
    ]
    assert fault_of("phi3_5", *result).keys() == {("content_ignored", 7)}
    twice = Message("assistant", "<think>so</think>lost<think>more</think>a")
    assert fault_of("qwen3", *talk("q"), twice).keys() == {("thinking_ignored", 7)}


def test_a_template_refuses_with_its_own_words_at_the_row():
    other = ToolCall("get_weather", {"city": "Bern"}, id="abcdefghj")
    two = Message("assistant", "", tool_calls=(CALL, other))
    short_id = Message("assistant", "", tool_calls=(ToolCall("get_weather", CITY, id="c1"),))
    cases = [
        (["llama3_1", *talk("q"), two], "only supports single tool-calls"),
        (["mistral_nemo", *talk("q"), short_id], "alphanumeric strings with length 9"),
        (["gemma2", *talk("qa", system="s")], "System role not supported"),
        (["gemma3", *talk("q"), *talk("qa")], "roles must alternate"),
        (["aya", *talk("q"), *talk("qa")], "roles must alternate"),
    ]
    for case, words in cases:
        assert words in fault_of(*case)["refused_by_template", 7].message


def test_a_system_prompt_that_is_only_served_is_named_and_trained_behind_each_answer():
    messages = talk("qapb", system="be brief")
    fault = fault_of("mistral_nemo", *messages)["not_prefix_preserving", 7]
    assert "be brief" in fault.message
    first, second = rendered("mistral_nemo", *messages, how=APART)
    decode = FAMILIES["mistral_nemo"].tokenizer.decode
    assert decode(first.row.ids) == "<s>[INST]be brief\n\nq[/INST]a</s>"
    assert decode(second.row.ids) == "<s>[INST]q[/INST]a</s>[INST]be brief\n\np[/INST]b</s>"


def test_names_that_are_left_out_are_noted():
    (document,) = rendered("qwen2_5", Message("user", "q", name="Ann"), Message("assistant", "a"))
    assert "names_left_out" in {note.code for note in document.notes}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_control_tokens_in_any_text_are_refused_or_read_as_text(name):
    family = FAMILIES[name]
    messages = talk(["q", f"see {family.end} there"])
    fault = fault_of(name, *messages)["control_tokens", 7]
    assert f"`{family.end}`" in fault.message
    assert "--data.control_tokens text" in fault.remedy
    as_text = Rendering(document="answer", control_tokens="text")
    documents = rendered(name, *messages, how=as_text)
    assert trained(name, documents) == [[said(name, f"see {family.end} there")]]
    end = family.tokenizer.convert_tokens_to_ids(family.end)
    (plain,) = rendered(name, *talk(["q", "see it there"]), how=APART)
    count = int((plain.row.ids == end).sum())
    assert int((documents[0].row.ids == end).sum()) == count


def test_control_tokens_in_tools_and_calls_are_control_tokens():
    end = "<|im_end|>"
    tool = json.loads(json.dumps(TOOL).replace("The weather.", end))
    key = ToolCall("get_weather", {end: 1})
    value = ToolCall("get_weather", {"city": [end]})
    for call in (key, value):
        asking = [*talk("q"), Message("assistant", "", tool_calls=(call,))]
        assert ("control_tokens", 7) in fault_of("qwen2_5", *asking)
        documents = rendered("qwen2_5", *asking, how=Rendering(control_tokens="text"))
        (texts,) = trained("qwen2_5", documents)
        assert texts[0].count(end) == 2
        assert texts[0].endswith(f"</tool_call>{end}")
        ids = documents[0].row.ids  # one ends the inserted system prompt, one each turn
        assert (ids == FAMILIES["qwen2_5"].tokenizer.convert_tokens_to_ids(end)).sum() == 3
    assert ("control_tokens", 7) in fault_of("qwen2_5", *talk("qa"), tools=(tool,))
    thinking = Message("assistant", "a", thinking=end)
    assert ("control_tokens", 7) in fault_of("qwen3", *talk("q"), thinking)
    called = Message("assistant", "[TOOL_CALLS]")
    assert ("control_tokens", 7) in fault_of("mistral_nemo", *talk("q"), called)


def test_the_page_tells_of_each_template_what_it_does():
    text = (ROOT / "docs" / "masks.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    told = {name: cells for names, *cells in rows for name in names.split(", ")}
    for name in FAMILIES:
        tools, thinking, together = (cell.startswith("yes") for cell in told[name])
        assert tools == (name in CALLS), name
        assert thinking == (name in THOUGHT), name
        assert together == (name in TOGETHER), name


def test_the_page_names_every_code_that_a_template_can_give():
    text = (ROOT / "docs" / "masks.md").read_text(encoding="utf-8")
    for file in ("examples", "chat_format", "template"):
        source = (SRC / "tunesmith" / "data" / f"{file}.py").read_text(encoding="utf-8")
        codes = re.findall(r"(?:Fault|Note|Unrenderable)\(\s*\"(\w+)\"", source)
        assert codes
        assert {code for code in codes if f"`{code}`" not in text} == set()


MARKED = ("qwen2_5", "qwen3", "gemma2", "gemma3", "aya", "phi3_5", "gpt_oss", "deepseek_r1_distill")


@pytest.mark.parametrize("family", [*(FAMILIES[name] for name in MARKED), PHI4_REASONING])
@given(contents=st.lists(WORDS, min_size=2, max_size=2))
@quick
def test_marks_of_a_template_agree_with_ours_but_for_headers_and_what_follows_the_end(
    family, contents
):
    thinking = "<think>\nhm</think>\n\n" if family.name == "deepseek_r1_distill" else ""
    messages = talk([contents[0], thinking + contents[1]])
    tokenizer = family.marked
    row = Conversation(tuple(messages), "f", 1)
    (each,) = documents_of(render_each(tokenizer, [row], study(tokenizer), Rendering()))
    assert each.faults == ()
    theirs = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        return_assistant_tokens_mask=True,
        return_dict=True,
    )
    mask, ours = np.array(theirs["assistant_masks"]) == 1, each.row.weights > 0
    assert theirs["input_ids"] == each.row.ids.tolist()
    assert not (ours & ~mask).any()
    first, last = np.flatnonzero(ours)[[0, -1]]
    more = np.flatnonzero(mask & ~ours)
    assert ((more < first) | (more > last)).all()
    after = tokenizer.decode(each.row.ids[more[more > last]])
    assert after.strip() in ("", "<|endoftext|>")
    assert each.row.ids[:first].tolist() == render_prompt(tokenizer, messages[:1])
    assert tokenizer.decode(each.row.ids[ours]).endswith(contents[1] + family.end)


# ---- variables of templates, such as enable_thinking --------------------------------------------

SWITCHED = {
    "qwen3": ({"enable_thinking": False}, {"enable_thinking": True}),
    "qwen3_5_small": ({"enable_thinking": True},),
    "smollm3": ({"enable_thinking": False},),
    "gemma4": ({"enable_thinking": True}, {"enable_thinking": False}),
    "granite3_3": ({"thinking": True},),
    "seed_oss": ({"thinking_budget": 0}, {"thinking_budget": 512}),
    "gpt_oss": ({"reasoning_effort": "high"}, {"reasoning_effort": "low"}),
}
CALLED = [
    {"role": "user", "content": "q"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "type": "function",
                "id": "abcdefghi",
                "function": {"name": "get_weather", "arguments": CITY},
            }
        ],
    },
    {"role": "tool", "content": "22", "tool_call_id": "abcdefghi", "name": "get_weather"},
]
ASKED = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize(
    ("name", "options"), [(name, each) for name in SWITCHED for each in SWITCHED[name]]
)
def test_a_template_with_options_writes_what_apply_chat_template_writes_with_them(
    name, options, prompt
):
    tokenizer = FAMILIES[name].tokenizer
    ours = with_options(tokenizer, options)
    chats = [(ASKED, None), *([(ASKED, [TOOL]), (CALLED, [TOOL])] if name in CALLS else [])]
    for messages, tools in chats:
        how = {"tools": tools, "tokenize": False, "add_generation_prompt": prompt}
        wanted = tokenizer.apply_chat_template(messages, **how, **options)
        assert ours.apply_chat_template(messages, **how) == wanted
        for own in SWITCHED[name]:  # who gives a value gets that
            wanted = tokenizer.apply_chat_template(messages, **how, **own)
            assert ours.apply_chat_template(messages, **how, **own) == wanted


@pytest.mark.parametrize("name", SWITCHED)
def test_options_change_the_prompt_and_the_answer_is_trained_behind_it(name):
    (options, *_), family = SWITCHED[name], FAMILIES[name]
    tokenizer = with_options(family.tokenizer, options)
    assert render_prompt(tokenizer, talk("q")) != render_prompt(family.tokenizer, talk("q"))
    if name in ("qwen3_5_small", "seed_oss"):  # these open or close the thinking in the prompt
        return
    row = Conversation(tuple(talk("qa")), "rows.jsonl", 7)
    (each,) = documents_of(render_each(tokenizer, [row], study(tokenizer), APART))
    assert each.faults == ()
    prompt = render_prompt(tokenizer, talk("q"))
    assert each.row.ids[: len(prompt)].tolist() == prompt
    assert supervised_runs(tokenizer, each.row)[0].endswith("a" + family.end)


def test_qwen3_5_trains_thinking_where_it_is_on_and_answers_where_it_is_off():
    on, off = QWEN3_5.tokenizer, with_options(QWEN3_5.tokenizer, {"enable_thinking": False})
    plain = Conversation(tuple(talk("qa")), "rows.jsonl", 7)
    thought = Message("assistant", "a", thinking="hm, 42")
    thinking = Conversation((*talk("q"), thought), "rows.jsonl", 7)

    def document(tokenizer, row):
        (found,) = documents_of(render_each(tokenizer, [row], study(tokenizer), APART))
        return found

    runs = supervised_runs(on, document(on, thinking).row)
    assert runs == ["hm, 42\n</think>\n\na<|im_end|>"]
    assert supervised_runs(off, document(off, plain).row) == ["a<|im_end|>"]
    (fault,) = document(on, plain).faults
    assert "--data.template_options enable_thinking=false" in fault.remedy
    (fault,) = document(off, thinking).faults
    assert "--data.template_options enable_thinking=true" in fault.remedy


def test_apertus_is_refused_as_its_template_ends_the_last_answer_with_no_token():
    row = Conversation(tuple(talk("qa")), "rows.jsonl", 7)
    tokenizer = APERTUS_8B.tokenizer
    (each,) = documents_of(render_each(tokenizer, [row], study(tokenizer), ROW))
    assert [fault.code for fault in each.faults] == ["end_not_trained"]


def test_a_variable_that_the_template_does_not_read_is_refused_with_the_nearest_one():
    with pytest.raises(DataError, match="`enable_think`") as caught:
        with_options(FAMILIES["qwen3"].tokenizer, {"enable_think": False})
    assert "`enable_thinking`" in caught.value.remedy
    with pytest.raises(DataError, match="reads no variable `reasoning`"):
        with_options(FAMILIES["smollm2"].tokenizer, {"reasoning": True})


NAMED = os.environ.get("TUNESMITH_TEMPLATES", "")
FOLDERS = [Path(each) for each in NAMED.split(os.pathsep) if each]


@pytest.mark.slow
@pytest.mark.skipif(not FOLDERS, reason="TUNESMITH_TEMPLATES names no folder of a model")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_masks_with_the_template_of_a_model_that_is_here(folder):
    """For models whose licence keeps their template out of here: EXAONE, Command R7B, ..."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chats = {(): talk("qa"), "thinking": talk("q"), "tools": talk("q")}
    chats["thinking"] += [Message("assistant", "a", thinking="hm, 42")]
    chats["tools"] += [Message("assistant", "", tool_calls=(CALL,))]
    how = study(tokenizer)
    takes = {"thinking": how.tools.takes_thinking, "tools": how.tools.takes_calls}
    for kind, messages in chats.items():
        if not takes.get(kind, True):
            continue
        tools = (TOOL,) if kind == "tools" else ()
        row = Conversation(tuple(messages), "rows.jsonl", 7, tools=tools)
        (each,) = documents_of(render_each(tokenizer, [row], how, APART))
        assert each.faults == (), kind
        first = int(np.flatnonzero(each.row.weights)[0])
        assert each.row.ids[:first].tolist() == render_prompt(tokenizer, messages[:1], tools)
        chat = given_chat(messages, tools, dialect=how.tools.dialect)
        assert tokenizer.decode(each.row.ids).startswith(chat_text(tokenizer, chat)[:-8])
        runs = supervised_runs(tokenizer, each.row)
        assert ("a" in runs[0]) or CITY["city"] in runs[0]
