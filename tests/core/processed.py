"""What worker processes of the tests do."""

import os
import sys
import time


def doubled(by=2):
    """Multiplies, and does worse with words."""

    def work(item):
        if item == "die":
            os.write(2, b"these are its last words\n")
            os._exit(3)
        if item == "say":
            os.write(2, b"words of another process\n")
            time.sleep(0.6)
        if item == "quit":
            time.sleep(0.3)
            os._exit(3)
        if item == "hang":
            time.sleep(60)
        if item == "fail":
            raise FileNotFoundError("no such item")
        if item == "swell":
            return len(bytes(1 << 33))
        if item == 0:
            sys.stdout.write("what a library prints")
        return item * by if isinstance(item, int) else str(item)

    return work


def refused():
    from tunesmith.core.errors import RagError

    raise RagError("Nothing can be cut.", remedy="Take another model.", code="cutter")
