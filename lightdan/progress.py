"""A progress bar with a rate for long work outside the trainer."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Column with the number of steps per second."""

    def render(self, task: Task) -> Text:
        """Return the rate so far, empty before the first step."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


class Fractions:
    """Reports of fractions of a step to a function that takes whole steps.

    Args:
        progress: Function called with a number of steps.
    """

    def __init__(self, progress: Callable[[int], None]) -> None:
        self.progress = progress
        self.done, self.reported = 0.0, 0

    def add(self, share: float) -> None:
        """Report a fraction of a step."""
        self.done += share
        whole = int(self.done + 1e-6)
        if whole > self.reported:
            self.progress(whole - self.reported)
            self.reported = whole


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while the block runs, or nothing if that is not a terminal.

    Args:
        title: Text before the bar.
        total: Number of steps, or None if it is not known.

    Yields:
        A function that adds n steps to the bar.
    """
    columns = [TextColumn(title), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=total)
        yield lambda steps: progress.advance(task, steps)
