"""What commands print, for a terminal or as JSON."""

from __future__ import annotations

import json
from typing import Any

SCHEMA = 1


def as_json(content: dict[str, Any]) -> str:
    """JSON with a schema version, for machines."""
    return json.dumps({"schema": SCHEMA, **content}, indent=1, default=str)
