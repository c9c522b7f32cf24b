from dataclasses import replace

import pytest

from tunesmith.adapters.loaded_base import open_base
from tunesmith.conversation import chat as chat_module
from tunesmith.conversation.chat import Chat
from tunesmith.core.errors import DataError
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.generation.decoder import ChatSession
from tunesmith.generation.sampling import Sampling

SHORT = Sampling(max_new_tokens=6)


@pytest.fixture(scope="module")
def loaded(base_folder):
    return open_base(str(base_folder), dtype="float32")


def ask(chat, question, **options):
    return chat.participants[0].reply(question, **options)


def begin(loaded, *, sampling=SHORT, **options):
    return Chat(loaded, {"base": None}, sampling=sampling, **options)


def test_an_answer_is_that_of_the_whole_conversation_read_at_once(loaded):
    chat = begin(loaded, system="Be kind.")
    first = ask(chat, "hello")
    second = ask(chat, "and now")
    messages = [
        Message("system", "Be kind."),
        Message("user", "hello"),
        Message("assistant", first.text),
        Message("user", "and now"),
    ]
    ids = render_prompt(loaded.base.tokenizer, messages)
    session = ChatSession(loaded.engine, stop_ids=loaded.base.stop_ids, adapter=None, capacity=400)
    alone = list(session.stream(ids, sampling=SHORT, seed=0))
    assert second.tokens == len(alone) > 0
    decoded = loaded.base.tokenizer.decode(alone)
    assert second.text == decoded.rstrip("\ufffd")


def test_what_is_told_is_the_text_of_the_reply(loaded):
    told = []
    chat = begin(loaded)
    reply = chat.participants[0].reply("hello", on_text=told.append)
    assert "".join(told) == reply.text
    assert (reply.participant, reply.question) == ("base", "hello")


def test_a_reset_forgets_the_conversation(loaded):
    chat = begin(loaded)
    fresh = ask(chat, "hello")
    remembering = ask(chat, "hello")
    chat.reset(None)
    assert ask(chat, "hello") == fresh
    assert remembering.text != fresh.text


def test_an_answer_that_reaches_the_limit_is_called_cut(loaded):
    reply = ask(begin(loaded), "hello")
    assert (reply.tokens, reply.cut, reply.stopped) == (6, True, False)


def test_a_stop_ends_the_answer_and_keeps_what_was_said(loaded):
    chat = begin(loaded)
    reply = ask(chat, "hello", stop=lambda: True)
    assert (reply.tokens, reply.stopped) == (1, True)


def test_draws_depend_on_the_seed_and_on_nothing_else(loaded):
    warm = replace(SHORT, temperature=2.0, max_new_tokens=20)
    texts = [ask(begin(loaded, sampling=warm, seed=seed), "hello").text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_conversation_that_is_too_long_is_refused_and_stays_as_it_was(loaded):
    chat, untouched = begin(loaded), begin(loaded)
    with pytest.raises(DataError, match="at most 400 are kept") as refused:
        ask(chat, "x" * 500)
    assert "/reset" in refused.value.remedy
    assert ask(chat, "hello") == ask(untouched, "hello")


def test_an_answer_stops_where_the_context_does(loaded):
    chat = begin(loaded, sampling=Sampling(max_new_tokens=300))
    reply = ask(chat, "x" * 370)
    assert reply.tokens < 30


def test_a_system_prompt_that_the_template_drops_is_refused(loaded, monkeypatch):
    template = loaded.base.tokenizer.chat_template
    skipping = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}"
    monkeypatch.setattr(loaded.base.tokenizer, "chat_template", skipping + template)
    with pytest.raises(DataError, match="leaves system prompts out"):
        begin(loaded, system="Be kind.")


def test_a_system_prompt_that_the_template_refuses_is_a_refusal(loaded, monkeypatch):
    template = loaded.base.tokenizer.chat_template
    refusing = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    )
    monkeypatch.setattr(loaded.base.tokenizer, "chat_template", refusing + template)
    with pytest.raises(DataError, match="no system here"):
        ask(begin(loaded, system="Be kind."), "hello")


def test_each_voice_has_its_adapter_and_a_history_of_its_own(loaded, monkeypatch):
    made = []

    class Session:
        def __init__(self, engine, *, stop_ids, adapter, capacity):
            self.adapter, self.prompts = adapter, []
            made.append(self)

        def stream(self, ids, *, sampling, seed):
            self.prompts.append(list(ids))
            yield loaded.base.tokenizer.convert_tokens_to_ids("h" if self.adapter else "e")

    monkeypatch.setattr(chat_module, "ChatSession", Session)
    chat = Chat(loaded, {"tuned": "a", "base": None}, sampling=SHORT)
    for question in ("one", "two"):
        for participant in chat.participants:
            participant.reply(question)
    assert [session.adapter for session in made] == ["a", None]
    tuned, base = (loaded.base.tokenizer.decode(session.prompts[1]) for session in made)
    assert "assistant\nh<|im_end|>" in tuned
    assert "assistant\ne<|im_end|>" in base


def test_thinking_is_heard_and_not_remembered(loaded, monkeypatch):
    chat = begin(loaded)
    participant = chat.participants[0]
    tokenizer = loaded.base.tokenizer
    ids = tokenizer("<think>\nhm\n</think>\n\nfine", add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(participant._session, "stream", lambda *_, **__: iter(ids))
    told = []
    reply = participant.reply("hello", on_text=told.append)
    assert reply.text == "fine"
    assert "".join(told) == "hm\n\nfine"
    assert participant._messages[-1] == Message("assistant", "fine")
