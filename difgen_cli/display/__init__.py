"""What commands print, for a terminal or as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

SCHEMA = 1


def as_json(content: dict[str, Any]) -> str:
    """JSON with a schema version, for machines; a number that does not exist is null, which JSON has, and not NaN."""
    return json.dumps(_without_nan({"schema": SCHEMA, **content}), indent=1, default=str, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
