"""The structure of Python packages, side by side:  python benchmarks/structure.py difgen_cli [other/package ...]

Packages are named by their folders; nothing of them is imported or run. Lines of the engine, of plug-ins and behind
"per 1,000" are those that are not blank; the engine is all but the folders of plug-ins. The length of a file is all of
its lines, that of a function all from `def` to its last, with docstring and blank lines. The 95th percentile is the
least length that 95 % of the functions do not exceed.

"Comments that say why" is a heuristic, not a reading: comments of at least four words, of which one gives a reason, a
condition or an exception (`WHY`). Comments in consecutive lines are one; directives to tools and notices of licence are
none. "Vague names" are uses of found, known, said, made, there and told as variable, parameter or attribute.

The last rows are of difgen alone; `structure_of_difgen.py` defines them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structure_of_difgen as difgen
from structure_reading import Source, is_dataclass, read

LONG_FILE, LONG_FUNCTION = 300, 60  # lines
WHY = {
    "because", "since", "hence", "therefore", "although", "though", "else", "otherwise", "instead", "or", "unless",
    "until", "where", "only", "never", "not", "cannot", "can't", "don't", "doesn't", "isn't", "aren't", "won't", "must",
    "should", "would", "avoid", "avoids", "needed",
}  # fmt: skip
WHY_PHRASES = ("so that", "in order to", "in case")
VAGUE = ("found", "known", "said", "made", "there", "told")


@dataclass
class Measures:
    """The numbers of one package by row, and the names behind some of them; None where a row does not apply."""

    numbers: dict[str, float | None] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def count(self, row: str, names: list[str] | None) -> None:
        """A row that is a number of names."""
        self.numbers[row] = None if names is None else len(names)
        if names:
            self.names[row] = names


def measure(sources: Sequence[Source]) -> Measures:
    """Every row of one package."""
    measures = Measures()
    _files(measures, sources)
    _functions(measures, sources)
    _classes(measures, sources)
    _comments(measures, sources)
    uses = Counter(name for source in sources for name in source.variables if name in VAGUE)
    measures.numbers["uses of vague names"] = uses.total()
    measures.names["uses of vague names"] = [f"{name} {count}" for name, count in uses.most_common()]
    _difgen(measures, sources)
    return measures


def says_why(comment: str) -> bool:
    """Whether a comment gives a reason, by its words alone."""
    words = re.findall(r"[a-z0-9_'-]+", comment.lower().replace("’", "'"))
    text = " ".join(words)
    return len(words) >= 4 and (not WHY.isdisjoint(words) or any(phrase in text for phrase in WHY_PHRASES))


def percentile(numbers: Sequence[int], percent: int) -> int:
    """The least of the numbers that so many percent of them do not exceed."""
    return sorted(numbers)[max(0, math.ceil(len(numbers) * percent / 100) - 1)]


def _files(measures: Measures, sources: Sequence[Source]) -> None:
    largest = max(sources, key=lambda source: source.length)
    measures.numbers |= {
        "lines of the engine": sum(source.lines for source in sources if not source.is_plugin),
        "lines of plug-ins": sum(source.lines for source in sources if source.is_plugin),
        "files of the engine": sum(not source.is_plugin for source in sources),
        "files of plug-ins": sum(source.is_plugin for source in sources),
        "largest file": largest.length,
    }
    measures.names["largest file"] = [largest.path.as_posix()]
    long = [source for source in sources if source.length > LONG_FILE]
    measures.count(f"files over {LONG_FILE} lines", [f"{source.path.as_posix()} {source.length}" for source in long])


def _functions(measures: Measures, sources: Sequence[Source]) -> None:
    functions = [(source, function) for source in sources for function in source.functions]
    lengths = [function.lines for _, function in functions]
    public = [function for _, function in functions if function.public]
    documented = sum(function.documented for function in public)
    measures.numbers |= {
        "functions": len(lengths),
        "... median length": statistics.median(lengths) if lengths else None,
        "... 95th percentile": percentile(lengths, 95) if lengths else None,
        "... longest": max(lengths, default=None),
    }
    long = [(s, f) for s, f in functions if f.lines > LONG_FUNCTION]
    measures.count(
        f"... over {LONG_FUNCTION} lines",
        [f"{source.path.as_posix()}:{function.node.name} {function.lines}" for source, function in long],
    )
    measures.numbers["public functions"] = len(public)
    measures.numbers["... with docstring, %"] = 100 * documented / len(public) if public else None


def _classes(measures: Measures, sources: Sequence[Source]) -> None:
    classes = [node for source in sources for node in source.classes]
    dataclasses = sum(map(is_dataclass, classes))
    measures.numbers |= {"dataclasses": dataclasses, "other classes": len(classes) - dataclasses}
    uses = Counter(node.name for node in classes)
    repeated = [f"{name} {count}" for name, count in sorted(uses.items()) if count > 1]
    measures.count("class names defined more than once", repeated)


def _comments(measures: Measures, sources: Sequence[Source]) -> None:
    comments = [comment for source in sources for comment in source.comments]
    lines = sum(source.lines for source in sources)
    why = sum(map(says_why, comments))
    measures.numbers |= {
        "comments": len(comments),
        "comments per 1,000 lines": 1000 * len(comments) / lines if lines else None,
        "comments that say why": why,
        "... per 1,000 lines": 1000 * why / lines if lines else None,
    }


def _difgen(measures: Measures, sources: Sequence[Source]) -> None:
    """The rows of difgen alone; None of another package."""
    ours = difgen.has_way(sources)
    measures.count("records from YAML to row", difgen.records(sources) if ours else None)
    measures.count("concepts that a cell meets", difgen.concepts(sources) if ours else None)
    metric = difgen.files_of_metric(sources, difgen.METRIC) if ours else None
    measures.count(f"files that name a metric ({difgen.METRIC})", metric)
    measures.numbers["... median of those with tables"] = difgen.median_of_metrics(sources) if ours else None
    setting = difgen.files_of_setting(sources) if ours else None
    measures.count(f"files that name a setting ({difgen.SETTING})", setting)
    measures.count("files that name a launcher", difgen.files_of_launcher(sources) if ours else None)


def table(measured: dict[str, Measures]) -> str:
    """Rows of numbers under the packages' names, then the names behind them."""
    rows = list(next(iter(measured.values())).numbers)
    first, widths = max(map(len, rows)), {name: max(len(name), 9) for name in measured}
    lines = ["  ".join([" " * first, *(name.rjust(width) for name, width in widths.items())])]
    for row in rows:
        cells = (_shown(measured[name].numbers[row]).rjust(width) for name, width in widths.items())
        lines.append("  ".join([row.ljust(first), *cells]))
    for name, measures in measured.items():
        lines += ["", *(f"{name}: {row}: {', '.join(names)}" for row, names in measures.names.items() if names)]
    return "\n".join(lines)


def _shown(number: float | None) -> str:
    if number is None:
        return "–"
    return f"{number:,.1f}".removesuffix(".0")


def labels(folders: Sequence[Path]) -> list[str]:
    """A package's name is its folder's; as it was typed where two would have the same."""
    names = [folder.resolve().name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0].partition(":  ")[0])
    parser.add_argument("packages", nargs="+", type=Path, metavar="FOLDER", help="folder of a package")
    parser.add_argument("--json", action="store_true", help="one JSON object: package -> numbers and names by row")
    arguments = parser.parse_args()
    folders = list(dict.fromkeys(arguments.packages))
    measured = {label: measure(read(folder)) for label, folder in zip(labels(folders), folders, strict=True)}
    if arguments.json:
        print(json.dumps({label: vars(measures) for label, measures in measured.items()}, indent=1))
    else:
        print(table(measured))


if __name__ == "__main__":
    main()
