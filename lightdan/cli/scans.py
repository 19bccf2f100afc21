"""The command ``lightdan scan``: fits for several values of an option, and their results together."""

import csv
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout
from rich.console import Console
from rich.table import Table

from lightdan import registry
from lightdan.checks import check_integer
from lightdan.data.files import check_writable, locked, whole_file, write_text
from lightdan.measurements import curves
from lightdan.measurements.base import Measurement
from lightdan.measurements.report import Summary, write_result
from lightdan.progress import progress_bar
from lightdan.runs.directories import lock_run
from lightdan.signals import GRACE, PARENT, Stopped
from lightdan.statistics import Estimate

COLUMNS = 5
"""Number of estimates per measurement in the printed table; the file has all."""

HEADER = ("measurement", "estimate", "value", "error", "reference")
"""Columns of ``scan.csv`` after that of the option."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a scan.

    Args:
        value: Value of the option, as on the command line.
        directory: Directory of the run.
        command: Command line of its process.
        settings: Text that identifies its options; a finished run with the same text is kept.
    """

    value: str
    directory: Path
    command: list[str]
    settings: str

    @property
    def finished(self) -> bool:
        """Whether the run has reached its end.

        Raises:
            ValueError: The directory holds a run with other settings.
        """
        marker = self.directory / "settings.txt"
        started = (self.directory / "run").exists()  # bad input ends a run before it leaves any result
        if started and marker.exists() and marker.read_text() != self.settings:
            raise ValueError(
                f"{self.directory} holds a run with other settings: remove it or pass another --output."
            )
        return (self.directory / "finished").exists()

    def start(self, threads: int) -> "subprocess.Popen[bytes]":
        """Start the process, from the last checkpoint if there is one."""
        write_text(self.directory / "settings.txt", self.settings)
        last = self.directory / "run" / "checkpoints" / "last.ckpt"
        resume = [f"--ckpt_path={last}"] if last.exists() else []
        if not resume:  # an interrupted run of these settings, which begins again
            shutil.rmtree(self.directory / "run", ignore_errors=True)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, PARENT: str(os.getpid())}
        with (self.directory / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [*self.command, *resume],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def measured(self) -> dict[str, Any]:
        """Return the contents of the files of its measurements, by name."""
        files = sorted((self.directory / "run" / "measurements").glob("*.json"))
        return {path.stem: json.loads(path.read_text()) for path in files}


def scan(
    *options: str,
    config: str,
    values: list[str],
    parameter: str = "data.init_args.temperature",
    output: str = "runs/scan",
    processes: int | None = None,
) -> None:
    """Fit a model for each of several values of an option and compare the results.

    All other options are passed on to every 'lightdan fit'. Finished runs are kept and interrupted ones
    resumed, so that the same command again does what is left. Scans of other values can run at the same
    time in the same directory, for example as an array of jobs.

    Args:
        options: Further options of ``lightdan fit``, the same for all runs.
        config: Configuration file of the runs, as for 'lightdan fit'.
        values: Values of the option, separated by spaces.
        parameter: Name of the option.
        output: Directory of all runs and of the comparison.
        processes: Number of runs at the same time, which share the processors; by default one per
            processor.

    Raises:
        ValueError: An argument is wrong, the directory holds other runs, another scan works on one of
            them, or a run failed.
    """
    if not Path(config).is_file():
        raise ValueError(f"There is no configuration at {config}.")
    if not parameter:
        raise ValueError("--parameter is empty: pass the name of an option of 'lightdan fit'.")
    if not all(values):
        raise ValueError("--values has an empty value: pass the values separated by spaces.")
    if len(set(values)) < len(values):
        raise ValueError(f"--values names a value twice: {' '.join(values)}.")
    if processes is None:
        processes = min(os.cpu_count() or 1, len(values))
    check_integer("--processes", processes)
    folder = Path(output)
    table = folder / "scan.csv"
    header = ",".join([parameter.rpartition(".")[2], *HEADER])
    if table.exists() and table.read_text(errors="replace").splitlines()[:1] != [header]:
        raise ValueError(f"{table} is of no scan of {parameter}: pass another --output.")
    runs = [_run(config, parameter, value, options, folder) for value in values]
    waiting = [run for run in runs if not run.finished]
    with ExitStack() as locks:
        for run in waiting:
            check_writable(run.directory, "--output")
            try:
                locks.enter_context(locked(run.directory / ".lock", 0))
            except Timeout as error:
                raise ValueError(
                    f"Another scan works in {run.directory}: wait for it or pass another --output."
                ) from error
            with lock_run(run.directory / "run", 2 * GRACE):
                pass  # a killed scan's process has ended
        failed = work_off(waiting, processes)
    if failed:
        words = (failed[0].directory / "log.txt").read_text(errors="replace").strip().splitlines()
        raise ValueError(
            f"{len(failed)} of {len(runs)} runs failed; the one with {parameter}={failed[0].value} "
            f"ended with: {words[-1] if words else 'nothing'} ({failed[0].directory / 'log.txt'})"
        )
    compare(parameter, runs, folder)


def work_off(waiting: list[Run], processes: int) -> list[Run]:
    """Run all, at most ``processes`` at a time, and return the runs that failed.

    The processes end with this one: by SIGTERM if it can, and else because they notice.

    Raises:
        Stopped: A signal has ended a run, which the same command resumes.
    """
    total, failed = len(waiting), []
    threads = max(1, (os.cpu_count() or 1) // processes)
    active: dict[Run, subprocess.Popen[bytes]] = {}
    with progress_bar(f"Fitting for {total} values", total) as advance:
        try:
            while waiting or active:
                while waiting and len(active) < processes:
                    run = waiting.pop(0)
                    active[run] = run.start(threads)
                time.sleep(0.2)
                for run in [run for run, process in active.items() if process.poll() is not None]:
                    code = active.pop(run).returncode
                    if code < 0 or code > 128:
                        raise _stopped(run, -code if code < 0 else code - 128)
                    if code:
                        failed.append(run)
                    else:
                        (run.directory / "finished").touch()
                    advance(1)
        finally:
            for process in active.values():
                process.terminate()
            for process in active.values():
                process.wait()
    return failed


def _stopped(run: Run, number: int) -> Stopped:
    """Return the end of a scan after a signal has ended a run, and say what to do if nobody sent it."""
    stop = Stopped(number)
    if stop.name == "SIGKILL":
        stop.said = True
        print(
            f"lightdan: the run in {run.directory} was killed, probably because memory ran out; run the "
            "same command again, with fewer --processes or a smaller model.",
            file=sys.stderr,
        )
    return stop


def _run(config: str, parameter: str, value: str, options: Sequence[str], output: Path) -> Run:
    directory = output / f"{parameter.rpartition('.')[2]}={value.replace('/', '_')}"
    logger = "--trainer.logger.init_args."
    arguments = [
        "fit",
        "--config",
        config,
        *options,
        f"--{parameter}={value}",
        f"--trainer.default_root_dir={directory.parent}",
        "--trainer.logger=CSVLogger",
        f"{logger}save_dir={directory.parent}",
        f"{logger}name={directory.name}",
        f"{logger}version=run",
    ]
    content = hashlib.sha256(Path(config).read_bytes()).hexdigest()
    settings = "\n".join([content, *options, f"--{parameter}={value}"])
    return Run(value, directory, [sys.executable, "-m", "lightdan", *arguments], settings)


def compare(parameter: str, runs: Sequence[Run], output: Path) -> None:
    """Write all estimates to one file, a figure per measurement, and `Measurement.compare` of them."""
    short = parameter.rpartition(".")[2]
    measured = [run.measured() for run in runs]
    names = [name for name in measured[0] if all(name in contents for contents in measured)]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow([short, *HEADER])
    summary = Summary()
    classes = {cls.name: cls for cls in registry.known(Measurement).values() if hasattr(cls, "name")}
    for name in names:
        contents = [by_name[name] for by_name in measured]
        for run, content in zip(runs, contents, strict=True):
            for estimate, numbers in content["estimates"].items():
                reference = content["reference"].get(estimate)
                writer.writerow(
                    [run.value, name, estimate, numbers["value"], numbers["error"], reference]
                )
        if contents[0]["estimates"].keys() - {*contents[0]["unlisted"]}:
            show(name, short, runs, contents)
            with whole_file(output / f"{name}.png") as temporary:
                points = [point(*pair) for pair in zip(runs, contents, strict=True)]
                curves.figure(short, {"": points}).savefig(temporary, format="png", dpi=150)
        temperatures = [content["temperature"] for content in contents]
        single = all(isinstance(t, (int, float)) for t in temperatures)
        if name in classes and single and len(set(temperatures)) == len(temperatures) > 1:
            order = np.argsort(temperatures)
            estimates = [read_estimates(contents[index]) for index in order]
            result = classes[name]().compare([temperatures[index] for index in order], estimates)
            if result is not None:
                summary.add(name, result)
                write_result(output, f"{name}-compared", result, {"temperature": temperatures})
    write_text(output / "scan.csv", table.getvalue())
    if summary.rows or summary.notes:
        summary.show(f"Comparison of {len(runs)} values of {short}", output)
    else:
        print(f"Numbers and figures: {output}")


def read_estimates(content: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return the estimates in a measurement's file, where null means a number that is not finite."""
    return {
        name: Estimate(
            math.nan if numbers["value"] is None else numbers["value"],
            math.inf if numbers["error"] is None else numbers["error"],
        )
        for name, numbers in content["estimates"].items()
    }


def show(name: str, short: str, runs: Sequence[Run], contents: Sequence[Mapping[str, Any]]) -> None:
    """Print the first estimates of a measurement, one row per value."""
    estimates = [read_estimates(content) for content in contents]
    columns = [name for name in estimates[0] if name not in contents[0]["unlisted"]][:COLUMNS]
    table = Table(short, *columns, title=name, title_justify="left")
    for run, by_name in zip(runs, estimates, strict=True):
        table.add_row(run.value, *(str(by_name[column]) for column in columns if column in by_name))
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)


def point(run: Run, content: Mapping[str, Any]) -> curves.Point:
    """Return the listed estimates of a run, with exact values."""
    estimates = read_estimates(content)
    listed = {name: each for name, each in estimates.items() if name not in content["unlisted"]}
    try:
        return curves.Point(float(run.value), listed, content["reference"])
    except ValueError:
        return curves.Point(run.value, listed, content["reference"])
