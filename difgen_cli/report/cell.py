"""One cell: its settings, its metrics compared with the references, its training, and a picture of its samples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.plan.sections import DEFAULT_PLUGIN, as_text
from difgen_cli.engine.plugins import COLUMN_SECTIONS, SECTIONS, Library, PluginError
from difgen_cli.engine.select import SelectedCell
from difgen_cli.engine.store import Store, sample_files
from difgen_cli.engine.store.access import exists
from difgen_cli.engine.store.files import replace
from difgen_cli.report import Pair, findings
from difgen_cli.report.controls import MeasureLine, lines
from difgen_cli.report.study import loading

if TYPE_CHECKING:
    import pandas as pd

OF_WEIGHTS = ("data.unlearn", "data.retrain")  # what is compared is the same whatever they are
KINDS = ("heldout", "copycat", "ideal")  # references, in the order of their columns
PAIRS, ACROSS = 32, 4  # on a picture; a pair is a sample and its nearest training image
PIXELS = 64  # an image's longer side on a picture, at least
GAP, COPY, PAPER = 6, (213, 94, 0), (255, 255, 255)


@dataclass(frozen=True)
class CellReport:
    """What is reported of one cell."""

    cell: SelectedCell
    state: str  # done, missing, failed or stale
    cause: str | None
    changed: dict[str, tuple[Any, Any]]  # setting -> (value, default); None where there is no default
    measures: list[MeasureLine]
    values: dict[str, dict[str, Any]]  # kind -> metric -> value
    losses: list[tuple[int, float]]  # (step, loss of that batch), up to the cell's step
    provenance: dict[str, Any]
    findings: list[str]  # what the numbers say, in sentences


def gather(store: Store, cell: SelectedCell) -> CellReport:
    """Read settings, metrics, losses and provenance of a cell from the store."""
    study = loading.gather(store, folder=store.grids_folder(cell.grid))[0]
    rows = study.rows
    row = rows[rows["index"] == cell.index].iloc[0]
    by_kind = {cell.kind: row} | references(rows, row)
    names = [name for name in study.curves.metrics if not _none(row.get(name))]
    measures = lines({kind: _values(line) for kind, line in by_kind.items()}, names, study.columns)
    return CellReport(
        cell=cell,
        state=str(row["state"]),
        cause=None if _none(row["cause"]) else str(row["cause"]),
        changed=changed(cell.settings),
        measures=measures,
        values={kind: {at.name: _plain(line.get(at.name)) for at in measures} for kind, line in by_kind.items()},
        losses=[(at, loss) for at, loss in cell.run_folder(store).losses() if cell.step is None or at <= cell.step],
        provenance={n: _plain(row[n]) for n in loading.PROVENANCE + TIMES if n in row and not _none(row[n])},
        findings=_findings(by_kind) if row["state"] == "done" and cell.kind == "model" else [],
    )


TIMES = ("train_seconds", "images_per_second", "roofline", "mfu", "finished_at")


def changed(settings: dict[str, Any], library: Library | None = None) -> dict[str, tuple[Any, Any]]:
    """Settings that differ from their default, with it; None for the default of a plug-in that is not available."""
    library = library or Library()
    defaults = {path: _default(library, settings, path) for path in settings}
    return {p: (value, defaults[p]) for p, value in settings.items() if value is not None and value != defaults[p]}


def _default(library: Library, settings: dict[str, Any], path: str) -> Any:
    """The default of a setting by its declaration, as tables hold it; None where it has none, or is not declared."""
    kind, _, rest = path.partition(".")
    if kind not in SECTIONS or rest == "name":
        return DEFAULT_PLUGIN.get(kind)
    name, setting = rest.split(".", 1) if kind == "score" and "." in rest else (settings.get(f"{kind}.name"), rest)
    own = library.own(kind)
    declared = dict(own.settings) if own else {}
    with suppress(PluginError):  # a plug-in of a user, which lies elsewhere
        declared |= library.signature(kind, str(name)).settings if kind != "train" else {}
    declaration = declared.get(setting)
    return None if declaration is None or declaration.required else as_text(declaration.default)


def references(rows: pd.DataFrame, row: pd.Series) -> dict[str, pd.Series]:
    """The reference row of each kind on the same data; of several, the one whose settings agree most."""
    data = [name for name in rows.columns if str(name).startswith("data.") and name not in OF_WEIGHTS]
    settings = [name for name in rows.columns if str(name).partition(".")[0] in COLUMN_SECTIONS and "." in str(name)]
    references = {}
    for kind in KINDS if row["kind"] == "model" else ():
        candidates = rows[(rows["kind"] == kind) & (rows["state"] == "done")]
        for name in data:
            candidates = candidates.loc[[_none(value) or value == row[name] for value in candidates[name]]]
        if len(candidates):
            equal = [sum(line[name] == row[name] for name in settings) for _, line in candidates.iterrows()]
            references[kind] = candidates.iloc[equal.index(max(equal))]
    return references


def _values(line: pd.Series) -> dict[str, Any]:
    return {str(name): value for name, value in line.items()}


def _findings(by_kind: dict[str, pd.Series]) -> list[str]:
    """The sentences of `findings` for a cell of a model."""
    rows = {kind: _values(line) for kind, line in by_kind.items()}
    return findings.of_samples(rows["model"], rows.get("copycat"))


def _none(value: Any) -> bool:
    return value is None or value != value  # NaN is not itself


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    return None if _none(value) else value.item() if hasattr(value, "item") else value


# Pictures ------------------------------------------------------------------------------------------------------------


def picture(store: Store, report: CellReport, folder: Path) -> Path | None:
    """A PNG of samples with their nearest training images, the most copied first and copies in a frame.

    Without stored neighbours: the first samples alone. None for points, and where no sample is stored.
    """
    cell = report.cell
    pairs = loading.pairs(store, [cell.key], PAIRS).get(cell.key, [])
    tiles = [_paired(pair) for pair in pairs] or _alone(cell.run_folder(store).samples(cell.key))
    if not tiles:
        return None
    path = folder / f"{cell.grid.rpartition('-')[0]}-{cell.index}-{cell.key[:8]}.png"
    content = _sheet(tiles, ACROSS if pairs else 2 * ACROSS)
    replace(path, lambda file: _write(file, content))
    return path


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _paired(pair: Pair) -> Any:
    """A sample and its nearest training image, in a frame where the sample is a copy."""
    from PIL import Image

    images = [_large(Image.open(io.BytesIO(content))) for content in (pair.sample_png, pair.nearest_png)]
    wide, high = sum(image.width for image in images), max(image.height for image in images)
    tile = Image.new("RGB", (wide + GAP, high + GAP), COPY if pair.memorized or pair.identical else PAPER)
    tile.paste(images[0], (GAP // 2, GAP // 2))
    tile.paste(images[1], (GAP // 2 + images[0].width, GAP // 2))
    return tile


def _alone(path: Path) -> list[Any]:
    """The first samples of a file; none of points, or where there is no file."""
    from PIL import Image

    if not exists(path):
        return []
    samples, _ = sample_files.read(path)
    if samples.ndim <= 2:
        return []
    return [_large(Image.open(io.BytesIO(sample_files.png(image)))) for image in samples[: 2 * PAIRS]]


def _large(image: Any) -> Any:
    """An image in colours and large enough to be seen, its pixels as squares."""
    from PIL import Image

    times = max(1, -(-PIXELS // max(image.size)))
    return image.convert("RGB").resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _sheet(tiles: Sequence[Any], across: int) -> bytes:
    """Tiles in rows on one picture, as PNG."""
    from PIL import Image

    wide, high = max(tile.width for tile in tiles) + GAP, max(tile.height for tile in tiles) + GAP
    rows = -(-len(tiles) // across)
    sheet = Image.new("RGB", (wide * min(across, len(tiles)) + GAP, high * rows + GAP), PAPER)
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (GAP + wide * (place % across), GAP + high * (place // across)))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
