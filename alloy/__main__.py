"""`python -m alloy` is `alloy`."""

import sys

from alloy.cli.main import main

sys.exit(main())
