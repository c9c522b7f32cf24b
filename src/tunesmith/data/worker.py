"""A process that tokenises: what it is told and what it answers are pickles, on its pipes.

`python -m tunesmith.data.worker`, started by `workers.py`. It ends when its input does, so that it
never outlives whoever started it.
"""

import gc
import os
import pickle
import signal
import sys
import traceback
from typing import BinaryIO

LENGTH_BYTES = 8


class Ended(Exception):
    """The other side of the pipe is gone."""


def send(pipe: BinaryIO, data: bytes) -> None:
    """One message."""
    pipe.write(len(data).to_bytes(LENGTH_BYTES, "little"))
    pipe.write(data)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes:
    """The next message; raises Ended."""
    length = int.from_bytes(_exactly(pipe, LENGTH_BYTES), "little")
    return _exactly(pipe, length)


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise Ended
    return data


def main() -> None:
    """Answer to every chunk of records with what they become, or with the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    orders = sys.stdin.buffer
    try:
        recipe, layout = pickle.loads(receive(orders))
        from tunesmith.data.tokenise import Tokeniser

        tokeniser = Tokeniser(recipe)
        gc.freeze()  # what is loaded stays: to look through it again and again took 8 % of the time
        send(answers, pickle.dumps(None))
        while True:
            records = pickle.loads(receive(orders))
            try:
                answer: object = tokeniser.records(records, layout)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = error
            send(answers, pickle.dumps(answer, protocol=5))
    except (Ended, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
