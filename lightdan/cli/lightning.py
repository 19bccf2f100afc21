"""The LightningCLI: fit, validate, test, predict."""

import itertools
import sys
import warnings
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lightdan import checkpoints, registry
from lightdan.architectures.base import LINKED, Architecture
from lightdan.running import Interruption, PredictionWriter, SaveConfig
from lightdan.systems.base import System


class CLI(LightningCLI):
    """``fit`` ends with the test of the best checkpoint; what the system declares is linked."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link lattice, sites and symmetries into the architecture; `start_from`."""
        parser.add_argument(
            "--start_from",
            type=str | None,
            help="checkpoint whose weights a new 'fit' starts with, of the same architecture",
        )
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Add the callbacks of every run.

        Raises:
            ValueError: a command that asks a trained model is not given one.
        """
        config = self.config[self.subcommand]
        if self.subcommand != "fit" and not config.ckpt_path:
            raise ValueError(f"'lightdan {self.subcommand}' asks a trained model: give --ckpt_path.")
        config.weights_only = True
        self.trainer_defaults["callbacks"] = [
            ModelCheckpoint(monitor="val_loss", filename="best", enable_version_counter=False),
            ModelCheckpoint(filename="last", save_on_exception=True, enable_version_counter=False),
            Interruption(),
            PredictionWriter(),
        ]
        if config.trainer.enable_progress_bar:
            self.trainer_defaults["callbacks"].append(RichProgressBar(refresh_rate=10))

    def instantiate_classes(self) -> None:
        """Make system, model and trainer; a checkpoint that does not fit is found before any work."""
        super().instantiate_classes()
        if path := self.config[self.subcommand].ckpt_path:
            self.model.on_load_checkpoint(checkpoints.read(path))
        elif path := self.config[self.subcommand].start_from:
            checkpoints.start_from(self.model, path)

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as it is: Lightning would put the checkpoint's settings in silently.

        `on_load_checkpoint` compares the two instead.
        """

    def after_fit(self) -> None:
        """Test the best checkpoint."""
        first = self.trainer.checkpoint_callback
        best = first.best_model_path if isinstance(first, ModelCheckpoint) else ""
        if best:
            self.trainer.test(
                self.model,
                datamodule=self.datamodule,
                ckpt_path=best,
                weights_only=True,
                verbose=False,
            )


def run(args: list[str]) -> int:
    """Run a command; returns the exit code."""
    # Classes in a file beside the configuration, or in the working directory.
    folders = [str(Path(path).resolve().parent) for path in config_paths(args)]
    sys.path[:0] = [folder for folder in (*folders, str(Path.cwd())) if folder not in sys.path]
    origins = registry.load_plugins()
    if args[0] == "list":
        from lightdan.cli.commands import show_list

        return show_list(args[1:], origins)
    if args[0] == "sample":
        from lightdan.cli.commands import sample

        return sample(args[1:])
    if args[0] == "simulate":
        from lightdan.cli.commands import simulate

        return simulate(args[1:])
    if args[0] == "predict-action":
        from lightdan.cli.commands import predict_action

        return predict_action(args[1:])
    if args[0] == "scan":
        from lightdan.cli.commands import scan

        return scan(args[1:])
    # It warns that arguments come from Python, though they are those of the command line.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    CLI(
        Architecture,
        System,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=SaveConfig,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        parser_kwargs={"exit_on_error": False},
        trainer_defaults={
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "run"}},
            "num_sanity_val_steps": 0,
            "enable_progress_bar": sys.stderr.isatty(),
        },
        args=args,
    )
    return 0


def config_paths(args: list[str]) -> list[str]:
    """The values of ``--config`` or ``-c``."""
    pairs = [*itertools.pairwise(args)]
    after = [value for flag, value in pairs if flag in ("--config", "-c")]
    return after + [arg.partition("=")[2] for arg in args if arg.startswith("--config=")]
