"""The command ``lightdan``: which part of it is asked for, and one sentence where it fails."""

import os
import sys
from collections.abc import Sequence

from lightdan.version import __version__

USAGE = """\
usage: lightdan COMMAND [options]

Learn the Hamiltonian of configurations with deep autoregressive networks.

commands:
  fit       train, then test the best checkpoint and measure (--config FILE)
  validate  evaluate a checkpoint on the validation data (--config FILE --ckpt_path FILE)
  test      evaluate and measure a checkpoint on the test data (--config FILE --ckpt_path FILE)
  predict   ln p and H of the test data into an HDF5 file (--config FILE --ckpt_path FILE)
  scan      fit for each of several values of an option, and put the results together
  predict-action  from the actions of paths learned at two β that at a third
  sample    draw configurations from a checkpoint into an HDF5 file
  simulate  draw configurations of a Hamiltonian of spins, such as Couplings writes
  list      systems, architectures, conditionals, objectives and measurements, with plugins

'lightdan COMMAND --help' tells the options of a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; by default those of the process.

    Returns:
        The exit code: 0, 2 for bad input, 130 after an interrupt.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] in ([], ["--help"], ["-h"]):
        print(USAGE, end="")
        return 0 if args else 2
    if args == ["--version"]:
        print(f"lightdan {__version__}")
        return 0
    from lightdan.cli import errors, lightning  # here, because they import torch

    try:
        return lightning.run(args)
    except KeyboardInterrupt:
        print("lightdan: interrupted.", file=sys.stderr)
        return 130
    except errors.BAD_INPUT as error:
        if os.environ.get("LIGHTDAN_TRACEBACK"):
            raise
        print(f"lightdan: error: {errors.one_sentence(error)}", file=sys.stderr)
        return 2
