"""Long work: who sees it, that it is told once where torch came first, how it is cancelled."""

import signal
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from tunesmith.api import work
from tunesmith.api.display import console_for
from tunesmith.core.progress import (
    Cancelled,
    Notice,
    Phase,
    finishing_first,
    status_of_cancel,
)


def test_every_event_reaches_the_caller_whether_it_is_shown_or_not(capsys):
    for shown in (True, False):
        heard = []
        with work.working("", stopped="", on_event=heard.append, progress=shown) as working:
            working.emit(Phase("reading", 1, 2))
            working.progress.report(Phase("loading"))
            working.emit(Notice("cut", "3 rows were cut"))
        assert heard == [Phase("reading", 1, 2), Phase("loading"), Notice("cut", "3 rows were cut")]
        assert working.notes == ("3 rows were cut",)
        err = capsys.readouterr().err
        assert ("note: 3 rows were cut" in err) == shown


def test_nothing_is_shown_on_a_pipe_unless_it_is_asked_for(monkeypatch):
    assert console_for(None) is None
    assert console_for(False) is None
    assert console_for(True) is not None


@pytest.fixture
def notebook(monkeypatch):
    """A kernel, and what the line below its cell showed."""
    shown = []
    module, display = ModuleType("IPython"), ModuleType("IPython.display")
    module.get_ipython = lambda: SimpleNamespace(kernel=object())
    display.display = lambda *_, **__: SimpleNamespace(update=lambda data, raw: shown.append(data))
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_notebook_has_a_bar_below_the_cell(notebook):
    with work.working("", stopped="") as working:
        working.emit(Phase("reading <a>", 1, 4))
    first, *_, last = notebook
    assert first["text/plain"] == "reading <a> 1 of 4 ..."
    assert '<progress value="0.250" max="1">' in first["text/html"]
    assert "&lt;a&gt;" in first["text/html"]
    assert last["text/plain"] == ""


def test_it_is_told_once_in_a_process_that_torch_came_first(monkeypatch):
    monkeypatch.setitem(work._warned, "torch", False)
    heard = []
    for _ in range(2):
        with work.working("", stopped="", on_event=heard.append, progress=False):
            pass
    assert [event.code for event in heard] == ["spin_count"]


def test_what_the_work_sets_in_torch_ends_with_it():
    import torch

    from tunesmith.engine.device import switches

    before = switches()
    works = (
        lambda: work.working(progress=False),
        lambda: work.working_on_runs("", resume="", progress=False),
    )
    for make in works:
        with make():
            torch.set_num_threads(before.threads + 1)
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False
        assert switches() == before


def test_threads_of_work_that_first_imports_torch_end_with_it_too():
    code = (
        "import sys\nfrom tunesmith.api.work import working\n"
        "with working(progress=False):\n"
        "    assert 'torch' not in sys.modules\n"
        "    from tunesmith.engine import device\n    import torch\n"
        "    first = torch.get_num_threads()\n    torch.set_num_threads(first + 1)\n"
        "assert torch.get_num_threads() == first\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def interrupted(go):
    """What the work is cancelled with."""
    with pytest.raises(Cancelled) as cancelled:
        go()
    return str(cancelled.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("notice", ["", "stopping soon"])
def test_a_signal_cancels_at_once_and_says_how_to_resume(number, notice):
    def go():
        with work.working(notice, stopped="It is kept.", progress=False):
            signal.raise_signal(number)
            pytest.fail("the work went on")

    assert interrupted(go) == "It is kept. The same call resumes."
    assert status_of_cancel() == 128 + number


def test_what_completes_a_part_is_asked_first_and_interrupted_by_a_second_signal(capfd):
    def go():
        with (
            work.working("stopping soon", stopped=lambda _: "Stopped.", progress=False) as working,
            finishing_first(),
        ):
            assert not working.stop()
            signal.raise_signal(signal.SIGTERM)
            assert working.stop()
            signal.raise_signal(signal.SIGINT)

    assert interrupted(go) == "Stopped."
    assert "stopping soon" in capfd.readouterr().err


def test_what_was_asked_for_while_a_part_was_completed_is_heard_after_it():
    def go():
        with work.working("soon", stopped="It is kept.", progress=False) as working:
            with finishing_first():
                signal.raise_signal(signal.SIGINT)
            working.progress.check()

    assert interrupted(go).startswith("It is kept.")


def test_work_in_another_thread_leaves_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def go():
        with work.working("stopping", stopped="", progress=False) as working:
            seen.append((signal.getsignal(signal.SIGINT), working.stop()))

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
