"""Directories of runs, which no two processes share and no run replaces."""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import Timeout
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from lightdan.data.files import check_writable, locked

MADE_BY_RUNS = (
    "config.yaml",
    "metrics.csv",
    "hparams.yaml",
    "predictions*.h5",
    "measurements/*",
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
)
"""Patterns of the files that a run writes to its directory."""


def run_directory(trainer: Trainer) -> Path:
    """Return the directory of this run, where Lightning puts its ``checkpoints``.

    It is ``save_dir/name/version`` of the first logger. `Trainer.log_dir` differs from it with Weights &
    Biases, where it is the directory of all runs.
    """
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    return _directory(trainer.loggers[0], trainer.default_root_dir)


def _directory(logger: Logger, root: str) -> Path:
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or root, str(logger.name), version)


def next_directory(root: Path) -> Path:
    """Make and return ``root/version_N`` with the first free N, for a run without a logger.

    Raises:
        ValueError: The directory cannot be written.
    """
    check_writable(root, "--trainer.default_root_dir")
    number = max(
        (int(path.name[8:]) for path in root.glob("version_*") if path.name[8:].isdigit()), default=-1
    )
    if int(os.environ.get("LOCAL_RANK", 0)) and number >= 0:
        return root / f"version_{number}"  # made by the first process of this run
    while True:
        number += 1
        try:
            (root / f"version_{number}").mkdir()
        except FileExistsError:
            continue
        return root / f"version_{number}"


@contextmanager
def lock_run(directory: Path, seconds: float = 5.0) -> Iterator[None]:
    """Hold the lock of a run's directory in the block.

    Args:
        directory: Directory of the run.
        seconds: Time to wait for another process.

    Raises:
        ValueError: Another process holds the lock.
    """
    directory = Path(os.path.abspath(directory))  # "." has no name
    directory.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(directory.with_name(f".{directory.name}.lock"), seconds))
        except Timeout as error:
            raise ValueError(
                f"Another process works in {directory}: wait for it, or pass another version of the "
                "logger."
            ) from error
        yield


def check_new(trainer: Trainer, resumed: str | None, locks: ExitStack) -> None:
    """Check that the run would replace no file, whose directories have a given name, and lock these.

    A run that resumes from a checkpoint in its own directory may go on there.

    Args:
        trainer: Trainer of the run.
        resumed: Checkpoint from which a training resumes.
        locks: Stack that releases the locks at the end of the run.

    Raises:
        ValueError: A file exists, or another process works in the directory.
    """
    for logger in trainer.loggers:
        named = isinstance(logger, CSVLogger | TensorBoardLogger) and logger._version is not None
        named |= isinstance(logger, WandbLogger) and logger.version is not None
        if not named:  # it gets a new number from `claim_directory`, or a new name from its server
            continue
        directory = _directory(logger, trainer.default_root_dir)
        locks.enter_context(lock_run(directory))
        if resumed and directory.resolve() in Path(resumed).resolve().parents:
            keep(directory / "metrics.csv")
            for start in ("Experiment logs directory", "Checkpoint directory"):
                warnings.filterwarnings("ignore", f"{start} .* exists and is not empty")
        elif found := [path for pattern in MADE_BY_RUNS for path in sorted(directory.glob(pattern))]:
            raise ValueError(
                f"The run would replace {found[0]}: leave the version of the logger out, or pass a new "
                "one."
            )


def keep(path: Path) -> None:
    """Rename a file of the same run before the logger begins it again."""
    if path.exists():
        number = len([*path.parent.glob(f"{path.stem}-*{path.suffix}")])
        path.rename(path.with_stem(f"{path.stem}-{number}"))


def claim_directory(trainer: Trainer) -> Path:
    """Make the directory of a run, and return it.

    If another run has taken the number that its logger chose, it gets the next one.
    """
    logger = trainer.loggers[0] if trainer.loggers else None
    if isinstance(logger, CSVLogger | TensorBoardLogger) and logger._version is None:
        while trainer.is_global_zero:
            try:
                run_directory(trainer).mkdir(parents=True)
                break
            except FileExistsError:
                logger._version = None
        logger._version = trainer.strategy.broadcast(logger._version)
    directory = run_directory(trainer)
    directory.mkdir(parents=True, exist_ok=True)
    return directory
