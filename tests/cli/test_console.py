""""""

import io
import signal
import threading

import pytest

from tunesmith.api.show import sanitize
from tunesmith.cli.command import messages, results
from tunesmith.core.progress import cancel_on_signal, finishing_first


def test_text_from_outside_cannot_steer_the_terminal():
    assert sanitize("a\x1b[31mb\x07c\x9bd\re") == "a␛[31mb␛c␛d␛e"


def test_lines_tabs_and_other_scripts_stay():
    assert sanitize("가\tб\nñ 😉") == "가\tб\nñ 😉"


def test_brackets_and_colons_of_a_message_stay(capsys):
    results().print("see [bold] and :smile:", soft_wrap=True)
    messages().print("[red]x")
    captured = capsys.readouterr()
    assert captured.out == "see [bold] and :smile:\n"
    assert captured.err == "[red]x\n"


def test_a_pipe_gets_no_colours(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    results().print("x", style="bold red")
    assert stream.getvalue() == "x\n"


def test_a_message_is_wrapped_in_a_terminal_and_one_line_elsewhere():
    from io import StringIO

    from rich.console import Console

    from tunesmith.api.show import paragraph

    text = "rows.jsonl:3: " + "several words " * 12
    for is_terminal in (True, False):
        console = Console(file=StringIO(), width=60, force_terminal=is_terminal, color_system=None)
        paragraph(console, text)
        lines = console.file.getvalue().rstrip().splitlines()
        assert (len(lines) > 1) == is_terminal
        assert " ".join(line.strip() for line in lines) == text.strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(number, capfd):
    with finishing_first(), cancel_on_signal("stopping soon") as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert capfd.readouterr().err.count("stopping soon") == 1


def test_the_handlers_before_come_back():
    before = signal.getsignal(signal.SIGINT)
    with cancel_on_signal("soon"):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_asks_for_a_stop():
    answers = []

    def work():
        with cancel_on_signal("soon") as stop:
            answers.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
