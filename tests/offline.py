"""Run one program without a network: `python tests/offline.py FILE`."""

from __future__ import annotations

import runpy
import sys

from alloy.testing import offline

if __name__ == "__main__":
    del sys.argv[0]
    with offline():
        runpy.run_path(sys.argv[0], run_name="__main__")
