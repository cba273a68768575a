"""The JSON library of both sides: the standard library's, or msgspec where `BENCHMARK_JSON=msgspec` says so."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

if os.environ.get("BENCHMARK_JSON") == "msgspec":
    import msgspec

    loads: Any = msgspec.json.decode
    encode: Any = msgspec.json.encode
else:
    sys.modules["msgspec"] = None  # type: ignore[assignment]  # alloy takes it where it finds it

    loads = json.loads

    def encode(value: object) -> bytes:
        """Write JSON without spaces."""
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
