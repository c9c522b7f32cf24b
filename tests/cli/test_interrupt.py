import os
import signal
import threading

import pytest

from tunesmith.cli.interrupt import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(number, capfd):
    with stop_on_signal("stopping soon") as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert capfd.readouterr().err.count("stopping soon") == 1


def test_the_handlers_before_come_back():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal(""):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_asks_for_a_stop():
    answers = []

    def work():
        with stop_on_signal("") as stop:
            answers.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
