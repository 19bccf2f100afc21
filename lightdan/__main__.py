"""``python -m lightdan``."""

import sys

from lightdan.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
