"""``python -m lightdan``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts the working directory first on the path, where a file could take a library's place.
    if not getattr(sys.flags, "safe_path", False):
        folder = sys.path.pop(0)
        if Path(folder) == Path(__file__).resolve().parents[1]:  # run from its source
            sys.path.append(folder)

    from lightdan.cli.main import main

    sys.exit(main())
