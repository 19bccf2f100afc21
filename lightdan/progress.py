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
