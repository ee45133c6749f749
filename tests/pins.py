"""Pins: the VERSION of each plug-in beside the hash of its code. Run as a script to write them anew."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from difgen_cli.engine.fingerprint import fingerprint

PACKAGE = Path(__file__).parent.parent / "difgen_cli"
PINS = Path(__file__).with_name("pins.json")
# The search, in `neighbours`, counts with the VERSION of the metrics; `diffusion` with that of training.
FOLDERS = (
    "data", "condition", "models", "objectives", "post_training", "sampling", "guidance", "features", "metrics",
    "neighbours", "diffusion",
)  # fmt: skip


def files() -> list[str]:
    """Every file that shapes a result, below the package."""
    return [str(f.relative_to(PACKAGE)) for folder in FOLDERS for f in sorted((PACKAGE / folder).glob("*.py"))]


def pin(file: str) -> dict[str, object]:
    """VERSION and fingerprint of one of them."""
    return {"version": _version(PACKAGE / file), "code": fingerprint(PACKAGE / file)}


def current() -> dict[str, dict[str, object]]:
    """The pin of every file that shapes a result."""
    return {file: pin(file) for file in files()}


def _version(file: Path) -> object:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "VERSION":
            return ast.literal_eval(node.value)
    return None


if __name__ == "__main__":
    PINS.write_text(json.dumps(current(), indent=1) + "\n", encoding="utf-8")
    print(f"{len(current())} pins written")
