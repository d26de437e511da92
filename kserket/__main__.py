"""`python -m kserket`: the same as the command `kserket`."""

import sys

from kserket.cli import main

if __name__ == "__main__":
    sys.exit(main())
