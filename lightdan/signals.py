"""Signals by which a terminal or a batch system ends a command before it has finished."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""Signals that batch systems send before they kill a job, and that of a closed terminal."""

PARENT = "LIGHTDAN_PARENT"
"""Environment variable with the number of the process whose end ends a command, too."""

GRACE = 30.0
"""Seconds that a process has to save and to end after its parent has ended."""


class Stopped(SystemExit):
    """Exception that ends a command after a signal, with the exit code 128 + number.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name
        self.said = False
        """Whether a sentence has said how to go on."""


def stop(number: int, frame: FrameType | None = None) -> None:
    """Raise `Stopped`, unless it is already ending the command, which may be saving something."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, Stopped):
            return
        error = error.__context__
    raise Stopped(number)


def handle(numbers: Sequence[int], handler: Callable[[int, FrameType | None], Any]) -> dict[int, Any]:
    """Set the handler of those signals that are not ignored, and return the former ones.

    Nothing is set outside the main thread, because Python forbids it.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heeded}


def restore(handlers: dict[int, Any]) -> None:
    """Set the handlers that `handle` returned."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def heeded() -> Iterator[None]:
    """Raise `Stopped` in the block after a signal."""
    before = handle(NUMBERS, stop)
    try:
        yield
    finally:
        restore(before)


def end_with(parent: int) -> None:
    """End this process soon after its parent has ended, as SIGTERM does.

    Args:
        parent: Process that started this one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        print("lightdan: the process that started this one has ended.", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(128 + signal.SIGTERM)  # the main thread waits for something that will not come

    threading.Thread(target=watch, daemon=True).start()
