import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunesmith.cli.chat import ChatPrompt
from tunesmith.core.errors import DataError


@dataclass(frozen=True)
class Reply:
    participant: str
    question: str
    text: str
    tokens: int
    cut: bool
    stopped: bool


@dataclass(frozen=True)
class Participant:
    name: str
    chat: "Echo"

    def reply(self, question, *, on_text, stop):
        return self.chat.reply(question, participant=self.name, on_text=on_text, stop=stop)


class Echo:
    """A conversation whose participants answer with what they were asked, in two pieces."""

    def __init__(self, *names, inserted=None, system=None, cut=False):
        self.participants = names
        self.inserted = self.inserted_system = inserted
        self.system, self.cut = system, cut
        self.resets, self.notes = [], ["a: 1 of 2 layers see only the last 16 tokens"]

    def reset(self, system):
        self.system = system
        self.resets.append(system)

    def reply(self, question, *, participant, on_text, stop):
        """As `api.load.Dialogue` has it."""
        if question == "too long":
            raise DataError("The conversation is too long.", remedy="Start anew with /reset.")
        on_text(question[:2])
        on_text(question[2:] + "!")
        return Reply(participant, question, question + "!", 5, self.cut, stopped=stop())


class EchoBelow(Echo):
    """The same as `conversation.chat` has it: participants are objects with a name."""

    def __init__(self, *names):
        super().__init__(*names)
        self.participants = [Participant(name, self) for name in names]


@pytest.fixture
def lines(monkeypatch):
    def give(*given):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in given)))

    return give


@pytest.fixture
def typed(monkeypatch):
    """Lines from someone at a terminal."""

    def give(*given):
        answers = iter(given)

        def read(_prompt):
            try:
                return next(answers)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", read)

    return give


def talk(chat, *, silent=False, interactive=False):
    return ChatPrompt(chat, silent=silent, interactive=interactive).run()


def test_each_line_from_a_pipe_gets_its_answer(lines, capsys):
    lines("hello", "", "what now")
    assert [reply.question for reply in talk(Echo("base"))] == ["hello", "what now"]
    assert capsys.readouterr().out == "hello!\nwhat now!\n"


def test_several_participants_answer_under_their_names(lines, capsys):
    lines("hello")
    talk(Echo("a", "b"))
    assert capsys.readouterr().out == "a: hello!\nb: hello!\n"


def test_silence_leaves_standard_output_to_the_document(lines, capsys):
    lines("hello")
    assert len(talk(Echo("a", "b"), silent=True)) == 2
    assert capsys.readouterr().out == ""


def test_commands_work_from_a_pipe_and_other_slashes_are_messages(lines):
    chat = Echo("base", system="Be kind.")
    lines("/reset", "/system Be brief.", "/etc/passwd is a file", "/quit", "not read")
    assert [reply.question for reply in talk(chat)] == ["/etc/passwd is a file"]
    assert chat.resets == ["Be kind.", "Be brief."]


def test_an_inserted_system_prompt_is_shown_once(lines, capsys):
    lines("a", "b")
    talk(Echo("base", inserted="You are SmolLM"))
    assert capsys.readouterr().err.count("You are SmolLM") == 1


def test_a_system_prompt_of_ones_own_takes_the_place_of_the_inserted_one(lines, capsys):
    lines("a")
    talk(Echo("base", inserted="You are SmolLM", system="Be kind."))
    assert "SmolLM" not in capsys.readouterr().err


def test_system_without_text_shows_the_one_in_use(lines, capsys):
    lines("/system")
    talk(Echo("base", system="Be kind."))
    assert "Be kind." in capsys.readouterr().err


def test_a_cut_answer_says_how_to_get_more(lines, capsys):
    lines("a")
    talk(Echo("base", cut=True))
    assert "--max-new-tokens" in capsys.readouterr().err


def test_an_error_ends_a_pipe(lines):
    lines("too long", "next")
    with pytest.raises(DataError):
        talk(Echo("base"))


def test_someone_at_a_terminal_can_try_again(typed, capsys):
    typed("too long", "/nonsense", "next")
    replies = talk(Echo("base"), interactive=True)
    assert [reply.question for reply in replies] == ["next"]
    err = capsys.readouterr().err
    assert "error: The conversation is too long." in err
    assert "There is no command /nonsense." in err


def test_help_lists_every_command(typed, capsys):
    typed("/help")
    talk(Echo("base"), interactive=True)
    err = capsys.readouterr().err
    assert all(name in err for name in ("/reset", "/system TEXT", "/help", "/quit"))


@pytest.fixture
def loaded(replace_module):
    """What the chat was opened with."""
    asked = {}

    @dataclass
    class Sampling:
        temperature: float = 0.0
        top_p: float = 1.0
        max_new_tokens: int = 256

        def __post_init__(self):
            if self.top_p == 0:
                raise ValueError("top_p 0 must be above 0")

    def open_chat(found, *, sampling, seed, force, **words):
        asked.update(found=found, sampling=sampling, seed=seed, force=force, **words)
        return EchoBelow(*found.participants)

    replace_module("tunesmith.conversation.chat", open_chat=open_chat)
    replace_module("tunesmith.generation.sampling", Sampling=Sampling)
    return asked


def test_answers_are_one_document(loaded, lines, tunesmith):
    lines("hello", "bye")
    ended = tunesmith("chat", "smollm2-135m-instruct", "--json")
    assert ended.document["answers"] == ["hello!", "bye!"]
    assert ended.document["replies"][0]["participant"] == "smollm2-135m-instruct"
    assert "warning: a: 1 of 2 layers see only the last 16 tokens." in ended.err


def test_flags_reach_the_sampling_and_the_rest_keeps_its_defaults(loaded, lines, tunesmith):
    lines()
    words = ("--temperature", "0.7", "--max-new-tokens", "9", "--seed", "3", "--system", "Be kind.")
    assert tunesmith("chat", *words, "--force").status == 0
    assert loaded["force"]
    sampling = loaded["sampling"]
    assert (sampling.temperature, sampling.top_p, sampling.max_new_tokens) == (0.7, 1.0, 9)
    assert (loaded["seed"], loaded["system"]) == (3, "Be kind.")
    assert loaded["options"] == {}


def test_variables_of_the_template_are_read_as_values(loaded, lines, tunesmith):
    lines()
    asked = "enable_thinking=false,effort=high,budget=5"
    assert tunesmith("chat", "--template-options", asked).status == 0
    assert loaded["options"] == {"enable_thinking": False, "effort": "high", "budget": 5}
    ended = tunesmith("chat", "--template-options", "thinking")
    assert ended.status == 2
    assert "`thinking` is no variable with a value" in ended.err


def test_sampling_that_cannot_be_is_wrong_usage(loaded, lines, tunesmith):
    lines()
    ended = tunesmith("chat", "--top-p", "0")
    assert ended.status == 2
    assert "top_p" in ended.err


def test_a_run_without_result_is_refused_before_anything_is_loaded(tunesmith, tmp_path: Path):
    (tmp_path / "config.yaml").write_text("model: m\n")
    ended = tunesmith("chat", tmp_path)
    assert ended.status == 1
    assert f"tunesmith train --resume {tmp_path}" in ended.err
