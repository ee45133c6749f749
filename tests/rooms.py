"""The map of packages in CONTRIBUTING.md, from their docstrings. Run as a script to write it anew."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "difgen_cli"
DOCUMENT = ROOT / "CONTRIBUTING.md"
# The order in which data flow, from what a person types to what they read; folders inside follow theirs.
ORDER = (
    "cli", "score", "audit", "gate", "pretrained", "data", "condition", "models", "objectives", "diffusion",
    "post_training", "sampling", "guidance", "features", "metrics", "neighbours", "engine", "engine/grid",
    "engine/plan", "engine/store", "engine/launch", "engine/launch/slurm", "engine/worker", "engine/cost",
    "engine/doctor", "report", "report/study", "report/findings", "report/figures", "report/plotting",
    "report/page",
)  # fmt: skip
TABLE = re.compile(r"^\| package \| content \|\n\|---\|---\|\n(?:\|.*\|\n)+", re.MULTILINE)


def packages() -> list[str]:
    """Every package of the code as a path below `difgen_cli`, as ORDER has them; one that is not there comes last."""
    names = [str(file.parent.relative_to(PACKAGE)) for file in sorted(PACKAGE.rglob("*/__init__.py"))]
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def summary(package: str) -> str:
    """The first paragraph of a package's docstring, in one line."""
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))
    return " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())


def table() -> str:
    """The lines of the map."""
    rows = "".join(f"| `{package}/` | {summary(package).replace('|', chr(92) + '|')} |\n" for package in packages())
    return f"| package | content |\n|---|---|\n{rows}"


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
    print(f"{len(packages())} packages written")
