"""The commands of ``lightdan``: their names, what they do, and the functions that they run."""

from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Args:
        description: One line for the list of commands; its help starts with the same words.
        function: Dotted path of the typed function that it calls; empty for a command of LightningCLI.
    """

    description: str
    function: str = ""


COMMANDS = {
    "inspect": Command(
        "Report what is in files of configurations, and what to set to fit a model to them.",
        "lightdan.cli.inspection.inspect",
    ),
    "images": Command(
        "Show microscope images and the numbers of their films, and what to set to fit a model to them.",
        "lightdan.cli.images.images",
    ),
    "fit": Command("Train a model, test its best checkpoint and measure what it has learned."),
    "validate": Command("Evaluate a checkpoint on the validation data."),
    "test": Command("Evaluate a checkpoint on the test data and measure what it has learned."),
    "predict": Command("Write ln p and H of the test data to an HDF5 file."),
    "scan": Command(
        "Fit a model for each of several values of an option and compare the results.",
        "lightdan.cli.scans.scan",
    ),
    "predict-action": Command(
        "Predict the action of paths at a third β from models of two others.",
        "lightdan.measurements.fields.prediction_report.predict_action",
    ),
    "sample": Command(
        "Draw configurations from a trained model into an HDF5 file.", "lightdan.cli.commands.sample"
    ),
    "simulate": Command(
        "Draw configurations of an explicit Hamiltonian into HDF5 files.",
        "lightdan.cli.commands.simulate",
    ),
    "list": Command(
        "List the systems, architectures, conditionals, objectives and measurements.",
        "lightdan.cli.commands.show_list",
    ),
}


def usage() -> str:
    """Return the text of ``lightdan --help``."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(
        f"  {name:{width}}  {command.description}" for name, command in COMMANDS.items()
    )
    return f"""\
usage: lightdan COMMAND [options]

Learn the Hamiltonian of configurations with deep autoregressive networks.

commands:
{commands}

options:
  -h, --help  Show this help message and exit.
  --version   Show the version and exit.

Run 'lightdan COMMAND --help' for the options of a command.
"""
