"""Commands that are killed at random moments and started again, compared with commands left alone.

``python tests/kills.py --number 100`` kills 100 times and prints what happened; the exit code is 1 if
results differ. The processes are forks of this one, which has imported everything.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import h5py
import torch

from lightdan import edwards_anderson
from lightdan.cli import lightning, scans  # noqa: F401
from lightdan.cli.main import main

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
CONFIG = Path(__file__).parents[1] / "configs" / "xy" / "scan.yaml"
TINY = [
    f"--config={CONFIG}",
    "--data.init_args.shape=4",
    "--data.init_args.num_configurations=600",
    "--data.init_args.batch_size=40",
    "--trainer.max_epochs=5",
    "--trainer.accelerator=cpu",
    "--model.init_args.temperature_input=false",
    "--model.init_args.channels=4",
    "--trainer.callbacks.init_args.num_samples=500",
]
ONE = [*TINY, "--data.init_args.temperature=1.0", "--trainer.callbacks+=Hamiltonian"]
SECONDS = 300
"""Time after which a command hangs."""


class Process:
    """A command in a fork of this process, with the interface of `subprocess.Popen`.

    Args:
        command: Command line; its first three words start an interpreter.
        stdout: File of its output and its errors.
        env: Environment.
        folder: Working directory of a group of its own; by default that of this process.
    """

    def __init__(self, command, stdout, env=None, folder=None, **_):
        self.returncode = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            if folder is not None:
                os.setpgid(0, 0)
                os.chdir(folder)
            self._run(command[3:], stdout, env or {})

    def _run(self, arguments, stdout, environment):
        code = 1
        try:
            os.dup2(stdout.fileno(), 1)
            os.dup2(1, 2)
            os.closerange(3, 500)  # as an interpreter does, so that it holds no lock of its parent
            sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
            os.environ.update({"XDG_CACHE_HOME": f"{os.getcwd()}/cache", **environment})
            for name in SIGNALS[1:]:
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.argv[1:] = arguments
            code = main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds=SECONDS):
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        return self.returncode

    def terminate(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


class Command(NamedTuple):
    """A command to kill.

    Args:
        first: Arguments at the first start.
        again: Function of the folder that returns the arguments of further starts.
        results: Function of the folder that returns what should be the same.
    """

    first: list[str]
    again: Callable[[Path], list[str]]
    results: Callable[[Path], dict]


def weights(path):
    return {k: v.tolist() for k, v in torch.load(path, weights_only=True)["state_dict"].items()}


def measured(run, last=None):
    """Return the weights of a run, or the last ones of another that it resumed, and its numbers."""
    results = {"best": weights(run / "checkpoints" / "best.ckpt")}
    results["last"] = weights((last or run) / "checkpoints" / "last.ckpt")
    for path in sorted(run.glob("measurements/*.json")):
        results[path.stem] = json.loads(path.read_text())
    return results


def newest(folder, name):
    """Return the runs that have a file, the last one last."""
    runs = Path(folder).glob("runs/*/version_*")
    return sorted((run for run in runs if (run / name).exists()), key=lambda run: int(run.name[8:]))


def fitted(folder):
    """Return the results of the last run; it has no last weights if there was no step to make."""
    return measured(newest(folder, "config.yaml")[-1], newest(folder, "checkpoints/last.ckpt")[-1])


def resumed(folder):
    found = newest(folder, "checkpoints/last.ckpt")
    resume = [f"--ckpt_path={found[-1].relative_to(folder)}/checkpoints/last.ckpt"] if found else []
    return ["fit", *ONE, *resume]


def datasets(folder, pattern):
    """Return the arrays of the files of a command."""
    found = {}
    for path in sorted(Path(folder).glob(pattern)):
        with h5py.File(path) as file:
            found[path.name] = {name: file[name][...].tolist() for name in file}
    return found


def scanned(folder):
    """Return the table of a scan, and the weights and numbers of its runs."""
    results = {"table": (folder / "runs" / "scan" / "scan.csv").read_text()}
    for run in sorted(folder.glob("runs/scan/*/run")):
        results[run.parent.name] = measured(run)
    for path in sorted(folder.glob("runs/scan/*-compared.json")):
        results[path.stem] = json.loads(path.read_text())["estimates"]
    return results


def commands(folder):
    """Return the commands by name; the last two use the checkpoint of the first one's run."""
    (folder / "glass.json").write_text(edwards_anderson((8, 8), "gaussian", seed=1).to_json())
    checkpoint = f"--ckpt_path={folder}/fit/runs/xy-scan/version_0/checkpoints/best.ckpt"
    simulate = ["simulate", f"--hamiltonian={folder}/glass.json", "--num=8000", "--output=x.h5"]
    simulate += ["--temperature", "1", "2", "3"]
    sample = ["sample", checkpoint, "--num=10000", "--output=x.h5"]
    new = ["--data.init_args.num_configurations=5000", "--data.init_args.seed=1"]
    predict = ["predict", *ONE, *new, checkpoint]
    scan = ["scan", *TINY[1:], "--config", str(CONFIG), "--values", "0.7", "1.0", "1.3", "--processes=2"]
    return {
        "fit": Command(["fit", *ONE], resumed, fitted),
        "scan": Command(scan, lambda f: scan, scanned),
        "simulate": Command(simulate, lambda f: simulate, lambda f: datasets(f, "x*.h5")),
        "sample": Command(sample, lambda f: sample, lambda f: datasets(f, "x.h5")),
        "predict": Command(predict, lambda f: predict, lambda f: datasets(f, "runs/*/*/predictions.h5")),
    }


def start(arguments, folder):
    with (folder / "log.txt").open("ab") as log:
        log.write(f"$ {' '.join(arguments)}\n".encode())
        log.flush()
        return Process(["python", "-m", "lightdan", *arguments], log, folder=folder)


def left_alone(command, folder):
    """Run a command to its end, and return its results and the seconds that it took."""
    folder.mkdir()
    begun = time.monotonic()
    code = start(command.first, folder).wait()
    assert code == 0, (folder / "log.txt").read_text()
    return command.results(folder), time.monotonic() - begun


def killed(command, folder, seconds, rng):
    """Kill a command at random moments, once or more often, and start it again until it has ended.

    Returns:
        The signals that met it with the exit codes after them, and the fault if it did not end well.
    """
    folder.mkdir()
    met, arguments = [], command.first
    while True:
        process = start(arguments, folder)
        alone = rng.random() < 0.5  # some batch systems signal one process, and some all
        number = getattr(signal, rng.choice(SIGNALS))
        again = not met or (len(met) < 3 and rng.random() < 0.3)
        struck = again and process.wait(rng.uniform(0, seconds)) is None
        if struck:
            (os.kill if alone else os.killpg)(process.pid, number)
            met.append((signal.Signals(number).name + ("" if alone else " to all"), process.wait()))
        code = process.wait()
        if code is None:
            return met, "hangs"
        last = (folder / "log.txt").read_text().splitlines()[-1]
        if code == 0 or (code == 2 and met and "exists already" in last):
            return met, ""
        if not struck or code not in (-number, 128 + number):
            return met, f"ended with code {code}"
        arguments = command.again(folder)


def warm_up():
    """Import, and compile, in this process what its forks will need."""
    with tempfile.TemporaryDirectory() as name, open(f"{name}/log", "w") as log:
        os.environ["XDG_CACHE_HOME"] = name
        os.mkdir(f"{name}/fit")
        os.chdir(f"{name}/fit")
        found = commands(Path(name))
        few = {"fit": "--trainer.max_epochs=1", "simulate": "--num=10", "sample": "--num=10"}
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            codes = [main([*found[name].first, option]) for name, option in few.items()]
        log.flush()
        assert not any(codes), Path(name, "log").read_text()
        os.chdir("/")


def run(arguments=None):
    """Kill commands, print what happened, and return the number of those with other results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=100, help="Number of kills.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed of moments and signals.")
    options = parser.parse_args(arguments)
    scans.subprocess = SimpleNamespace(Popen=Process, DEVNULL=None)
    warm_up()
    rng = random.Random(options.seed)
    met, different = Counter(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = commands(folder)
        expected = {name: left_alone(command, folder / name) for name, command in found.items()}
        print(*(f"{name} takes {seconds:.1f} s;" for name, (_, seconds) in expected.items()), flush=True)
        for number, name in enumerate(itertools.cycle(found)):
            if met.total() >= options.number:
                break
            results, seconds = expected[name]
            where = folder / f"{name}-{number}"
            events, fault = killed(found[name], where, seconds, rng)
            met.update((name, *event) for event in events)
            got = {} if fault else found[name].results(where)
            if got != results:
                different += 1
                fault = (
                    fault or f"differs in {', '.join(k for k in results if got.get(k) != results[k])}"
                )
                print((where / "log.txt").read_text())
                print(f"{name}-{number} {fault}: {events}", flush=True)
            else:
                shutil.rmtree(where)
    for (name, event, code), count in sorted(met.items()):
        print(f"{name:9} {event:15} exit {code:4}: {count}")
    print(f"{number} commands, {met.total()} kills, {different} with other results")
    return different


if __name__ == "__main__":
    sys.exit(min(run(), 1))
