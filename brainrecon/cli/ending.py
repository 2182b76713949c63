"""How a command is ended from outside: by Ctrl-C, or by the signal that a scheduler or ``kill`` sends."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
TERMINATED = 143


@contextmanager
def terminated_like_interrupted() -> Iterator[list[int]]:
    """Have SIGTERM end what is done within as Ctrl-C does: by a `KeyboardInterrupt`, so that all is put away.

    A second one ends the process at once. Loops over batches and steps finish the one that is under way first, see
    `stages.ground.ending`. Signals that somebody handles already, and threads, are left alone.

    Yields
    ------
    received : list of int
        The signals that came.
    """
    received: list[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield received
        return
    own = os.getpid()

    def end(number, frame):
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != own:
            # A process that was made within: whoever ends it means it as it is.
            os.kill(os.getpid(), number)
            return
        received.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
