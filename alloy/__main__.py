"""`python -m alloy` is `alloy`."""

import sys

from alloy.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
