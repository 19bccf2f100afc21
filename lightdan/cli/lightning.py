"""The commands of LightningCLI: ``lightdan fit``, ``validate``, ``test`` and ``predict``."""

import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lightdan import checkpoints
from lightdan.architectures.base import LINKED, Architecture
from lightdan.checks import is_sentence
from lightdan.cli.catalogue import COMMANDS
from lightdan.cli.configurations import check_class_paths
from lightdan.cli.errors import passed
from lightdan.cli.options import check_run
from lightdan.data.files import check_writable
from lightdan.measurements.base import measurements_of
from lightdan.runs.checkpointing import (
    BestCheckpoint,
    LastCheckpoint,
    WholeCheckpoints,
    reserve_names,
)
from lightdan.runs.configuration import SaveConfig, go_on
from lightdan.runs.convergence import Convergence
from lightdan.runs.directories import check_new, next_directory
from lightdan.runs.interruption import Interruption
from lightdan.runs.predictions import PredictionWriter
from lightdan.systems.base import System

RESTORING = "lightning.pytorch.trainer.connectors.checkpoint_connector"
"""Module of Lightning that restores the state of a training."""
ROOT = "runs"
"""Default directory of all runs."""

HELP = """ The files of a run are in DEFAULT_ROOT_DIR/NAME/version_N, with the default_root_dir of the
trainer and the name of its logger. Run 'lightdan list' for the names of systems and models, and pass
--data.help NAME or --model.help NAME for their options. PyTorch uses one CPU thread, because small
networks gain nothing from more; set the environment variable OMP_NUM_THREADS for larger ones."""


class CLI(LightningCLI):
    """LightningCLI that links the system into the model and tests the best checkpoint after ``fit``.

    Args:
        args: Arguments of the command line, the command first; only its parser is made.
        locks: Stack that releases the locks of the run's directories at its end.
        options: Further arguments of `LightningCLI`.
    """

    def __init__(self, args: list[str], locks: ExitStack, **options: Any) -> None:
        self.command, self.locks = args[0], locks
        super().__init__(Architecture, System, args=args, **options)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the command and the arguments of its method that are no options."""
        return {self.command: super().subcommands()[self.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add `start_from`, and link lattice, sites and symmetries into the architecture."""
        parser.add_argument(
            "--start_from",
            type=str | None,
            help="Checkpoint of the same architecture whose weights a new 'fit' starts from.",
        )
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Add the callbacks of every run, and put the loggers' files under `default_root_dir`.

        Raises:
            ValueError: A command other than ``fit`` has no checkpoint, a path is empty, a class path
                names no class, the trainer has no options, or one that is never None is null.
        """
        config = self.config[self.subcommand]
        if not isinstance(config.trainer, Namespace):
            raise ValueError(
                f"trainer cannot be {config.trainer!r}: write its options below it, like "
                "'max_epochs: 5'."
            )
        check_class_paths(config)
        check_run(config)
        for option in ("ckpt_path", "start_from"):
            if self.subcommand == "fit" and config[option] == "":
                raise ValueError(f"The option --{option} is empty: pass a path after it.")
        if self.subcommand != "fit" and not config.ckpt_path:
            raise ValueError(f"'lightdan {self.subcommand}' needs a trained model: pass --ckpt_path.")
        config.weights_only = True
        loggers = config.trainer.logger
        for logger in loggers if isinstance(loggers, list) else [loggers]:
            # Any other directory was chosen for this logger and stays.
            if isinstance(logger, Namespace) and logger.init_args.get("save_dir") == ROOT:
                logger.init_args.save_dir = config.trainer.default_root_dir or ROOT
        self.trainer_defaults["callbacks"] = [Interruption(), Convergence(), PredictionWriter()]
        if config.trainer.enable_checkpointing is not False:
            self.trainer_defaults["callbacks"] += [BestCheckpoint(), LastCheckpoint()]
        if config.trainer.enable_progress_bar:
            self.trainer_defaults["callbacks"].append(RichProgressBar(refresh_rate=10))

    def instantiate_classes(self) -> None:
        """Make system, model and trainer, and refuse before any work what would fail after it.

        Raises:
            ValueError: A checkpoint does not fit, or the directory of the runs cannot be written.
        """
        super().instantiate_classes()
        for logger in self.trainer.loggers:
            # In a dry run save_dir is a method, and it may be the address of a server.
            if isinstance(logger.save_dir, str | os.PathLike) and "://" not in str(logger.save_dir):
                check_writable(Path(logger.save_dir), "--trainer.default_root_dir")
        if any(isinstance(logger, WandbLogger) for logger in self.trainer.loggers):
            self.trainer.enable_autolog_hparams = False  # SaveConfig logs them among all settings
        path = self.config[self.subcommand].ckpt_path
        checkpoint = checkpoints.read(path) if path else {}
        if path:
            checkpoints.check_fits(self.model, checkpoint, path, resumes=self.subcommand == "fit")
        elif start := self.config[self.subcommand].start_from:
            checkpoints.start_from(self.model, start)
        if self.trainer.is_global_zero:
            if path and self.subcommand == "fit":
                go_on(self.trainer, checkpoint, path)
            check_new(self.trainer, path if self.subcommand == "fit" else None, self.locks)
        reserve_names(self.trainer)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Make the trainer.

        Raises:
            ValueError: Lightning does not accept the type of an option, or a callback occurs twice.
        """
        config = self.config[self.subcommand].trainer
        if config.logger is False and not config.fast_dev_run:
            options["default_root_dir"] = str(next_directory(Path(config.default_root_dir or ROOT)))
        try:
            trainer = super().instantiate_trainer(**options)
        except TypeError as error:
            raise ValueError(f"The trainer refuses an option: {error}") from error
        except RuntimeError as error:
            if match := re.search("more than one stateful callback of type `(.*?)`", str(error)):
                raise ValueError(
                    f"trainer.callbacks has {match[1]} twice with the same monitor, mode and interval: "
                    "let them differ, or remove one."
                ) from error
            raise
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment):
            # Lightning's requeueing would keep one checkpoint for all runs in `default_root_dir`, and
            # requeue a job whose exit code says "not finished" once more.
            environment.auto_requeue = False
        names = Counter(measurement.name for measurement in measurements_of(trainer))
        if twice := [name for name, number in names.items() if number > 1]:
            raise ValueError(
                f"trainer.callbacks has the measurement {twice[0]} twice, and both would write the same "
                "files: remove one."
            )
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        return trainer

    def _parse_ckpt_path(self) -> None:
        """Keep the configuration: Lightning would silently replace it by the checkpoint's settings.

        `on_load_checkpoint` compares the two instead.
        """

    def after_fit(self) -> None:
        """Test the best checkpoint, or the last weights if there is none, and say why."""
        if self._nothing_to_measure():
            return
        callbacks = self.trainer.checkpoint_callbacks
        best = next((call.best_model_path for call in callbacks if isinstance(call, BestCheckpoint)), "")
        if not best:
            self._say(f"The last weights are measured, because {self._why_no_best()}.")
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=best or None,
            weights_only=True,
            verbose=False,
        )

    def after_test(self) -> None:
        """Say why there is no measurement."""
        self._nothing_to_measure()

    def _nothing_to_measure(self) -> bool:
        """Return whether nothing can be measured, and say why."""
        trainer = self.trainer
        if trainer.fast_dev_run:
            why = "fast_dev_run is set"
        elif not measurements_of(trainer):
            self._say(
                "Only the loss of the test configurations is logged, because trainer.callbacks has no "
                "measurement: add some, such as Hamiltonian."
            )
            return False
        elif trainer.limit_test_batches == 0:
            why = "limit_test_batches is 0"
        elif self.subcommand == "fit" and trainer.global_step == 0:
            why = "no step of training was made: raise max_epochs, max_steps, max_time and the like"
        else:
            return False
        self._say(f"Nothing is measured, because {why}.")
        return True

    def _why_no_best(self) -> str:
        trainer = self.trainer
        if not any(isinstance(call, BestCheckpoint) for call in trainer.checkpoint_callbacks):
            return "enable_checkpointing is false and so no best ones are kept"
        if trainer.limit_val_batches == 0:
            return "limit_val_batches is 0 and so the best ones are not known"
        return "the training ended before a validation and so the best ones are not known"

    def _say(self, sentence: str) -> None:
        if self.trainer.is_global_zero:
            print(sentence)


def run(args: Sequence[str]) -> None:
    """Run a command of LightningCLI: fit, validate, test or predict.

    Args:
        args: Arguments, the command first.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    # LightningCLI warns that args come from Python, although they are those of the command line.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    description = COMMANDS[args[0]].description + HELP
    usage = f"lightdan {args[0]} --config FILE [options]"
    texts = {"description": description, "usage": usage}
    try:
        with ExitStack() as locks:
            CLI(
                list(args),
                locks,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=SaveConfig,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={
                    "exit_on_error": False,
                    args[0]: texts,
                },
                trainer_defaults={
                    "default_root_dir": ROOT,
                    "logger": {
                        "class_path": "CSVLogger",
                        "init_args": {"save_dir": ROOT, "name": "run"},
                    },
                    "num_sanity_val_steps": 0,
                    "enable_progress_bar": sys.stderr.isatty(),
                },
            )
    except Exception as error:
        if is_sentence(error) or not passed(error, RESTORING):
            raise
        raise ValueError(
            "The checkpoint of --ckpt_path is damaged or of another version of Lightning, because its "
            f"state cannot be restored ({type(error).__name__}: {error}): use another one."
        ) from error
