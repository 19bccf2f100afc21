"""The entry point of ``lightdan``: it finds the command and turns bad input into one sentence."""

import os
import signal
import sys
from collections.abc import Sequence

from lightdan import signals
from lightdan.cli.catalogue import COMMANDS, usage
from lightdan.registry import suggestion
from lightdan.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0, 2 after bad input, 128 + number after a signal, which means not finished.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("--help", "-h"):
        print(usage(), end="")
        return 0 if args else 2
    if args[0] == "--version":
        print(f"lightdan {__version__}")
        return 0
    name = args[0]
    if name not in COMMANDS:
        return fail(f"There is no command {name!r}; {suggestion(name, list(COMMANDS))}")
    is_worker = int(os.environ.get("LOCAL_RANK", 0)) > 0
    if parent := os.environ.pop(signals.PARENT, None) or (is_worker and os.getppid()):
        signals.end_with(int(parent))
    # A library that is interrupted while it is imported may raise anything.
    is_program = argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_program:
        signal.signal(signal.SIGINT, leave)
    # late, because they import torch
    from lightdan.cli import configurations, errors, functions, lightning
    from lightdan.data import files

    if is_program:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with signals.heeded():
            configurations.import_plugins(args)
            if COMMANDS[name].function:
                functions.run(name, args[1:])
            else:
                lightning.run(args)
    except KeyboardInterrupt:
        print("lightdan: interrupted.", file=sys.stderr)
        return 130
    except signals.Stopped as stop:
        if not stop.said and not is_worker:
            print(f"lightdan: stopped by {stop.name}; run the same command again.", file=sys.stderr)
        return 0 if is_worker else int(stop.code or 0)  # Lightning kills a run if a worker fails
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into code 1
            return 130
        raise
    except MemoryError as error:
        if os.environ.get("LIGHTDAN_TRACEBACK"):
            raise
        return fail(f"There is not enough memory ({error}): use fewer configurations or sites.")
    except OSError as error:
        if not files.disk_is_full(error) or os.environ.get("LIGHTDAN_TRACEBACK"):
            raise
        return fail("The disk is full: free space on it, and run the command again or resume it.")
    except errors.BAD_INPUT as error:
        if os.environ.get("LIGHTDAN_TRACEBACK"):
            raise
        return fail(errors.one_sentence(error))
    finally:
        if is_program:  # libraries that are interrupted at the exit print tracebacks
            signal.signal(signal.SIGINT, leave)
    return 0


def leave(*_: object) -> None:
    """End the process after an interrupt, when there is nothing to finish."""
    print("lightdan: interrupted.", file=sys.stderr, flush=True)
    os._exit(130)


def fail(sentence: str) -> int:
    """Print what is wrong on standard error and return the exit code of bad input."""
    print(f"lightdan: error: {sentence}", file=sys.stderr)
    return 2
