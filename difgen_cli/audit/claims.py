"""The images that somebody claims were trained on, as an audit asks about them: read, compared byte for byte, kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from difgen_cli.audit import references, twins
from difgen_cli.audit.planner import AuditRequest
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import Plan, claims
from difgen_cli.engine.plan.claims import ASKED, BESIDE, METRIC
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.sections import resolve
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store
from difgen_cli.score import sources
from difgen_cli.score.sources import Source

if TYPE_CHECKING:
    import numpy as np

LEAST = 5  # images of a claim, below which no test is run
Prepared = tuple[list[str], list[str], str]  # names of published and of kept files by pair, and the date
FLAGS = ("--claim-key", "--control", "--references")


class PoolImages(Protocol):
    """Images as they are loaded, and places of those that are held out, where the files say so."""

    @property
    def images(self) -> np.ndarray: ...

    @property
    def held_out(self) -> np.ndarray | None: ...


@dataclass(frozen=True)
class AskedClaims:
    """records: the images (`engine.plan.claims`). beside: keys of the weights of references. notes: for the reader."""

    records: np.ndarray
    beside: tuple[str, ...]
    notes: list[str]

    @property
    def given(self) -> dict[str, Given]:
        """The settings of the metric, as `score:` has them."""
        beside = {f"{METRIC}.{BESIDE}": Given(self.beside)} if self.beside else {}
        return {METRIC: Given(True), f"{METRIC}.{ASKED}": Given(claims.content(self.records)), **beside}

    def save(self, store: Store) -> None:
        """Keep the images where workers find them."""
        store.save_given(claims.content(self.records), self.records)


def check(request: AuditRequest) -> dict[Path, Prepared]:
    """What `difgen claim prepare` made of the claims, each held against its manifest.

    GridError for an option that belongs to a claim, without one; for a claim that is named twice, or was changed.
    """
    given = dict(zip(FLAGS, (request.claim_keys, request.control, request.references), strict=True))
    if not request.claims and (wrong := next((flag for flag, value in given.items() if value), None)):
        raise GridError(f"{wrong}: belongs to --claim, which says which images are asked about; give both, or none")
    repeated = [path for k, path in enumerate(request.claims) if path in request.claims[:k]]
    if repeated:
        raise GridError(f"--claim: {repeated[0]} is named twice; each question is asked once")
    return {path: twins.check(path, request.claim_keys) for path in request.claims if twins.is_prepared(path)}


def check_model(plan: Plan) -> None:
    """GridError where the model answers no image without a class: those of a claim have none."""
    for cell in plan.models:
        network = plan.recipes[cell.run_key].inputs.get("network")
        if network is not None and not network.settings.get("dropped_row", True):
            raise GridError("--claim: this model answers no image without a class, and those of a claim have none")


def read(
    request: AuditRequest, prepared: Mapping[Path, Prepared], library: Library, finder: Finder, train: Source,
    pool: PoolImages,
) -> AskedClaims:  # fmt: skip
    """The claims of a request, their controls, and the models beside them. GridError where something does not fit.

    prepared: what `check` gave. train, pool: the images that the audit compares with, and what was read of them.
    """
    parts: list[tuple[np.ndarray, int, int]] = []
    notes: list[str] = []
    control = _control(request, library, finder, train)
    for number, path in enumerate(request.claims):
        if path in prepared:
            published, kept = _twins(path, prepared[path], request, library, finder, train)
            notes.append(f"{path}: {len(published)} pairs, whose manifest says {prepared[path][2]}.")
            parts += [(published, claims.CLAIM, number), (kept, claims.KEPT, number)]
            images = published
        else:
            images = _images("--claim", path, request, library, finder, train)[1]
            if len(images) < LEAST:
                raise GridError(f"--claim: {path} holds {len(images)} images, and below {LEAST} nothing can be shown")
            parts.append((images, claims.CLAIM, number))
        notes += _shared(path, images, request, pool, control)
    parts += [] if control is None else [(control, claims.CONTROL, -1)]
    return AskedClaims(_records(parts), tuple(_beside(request, library, finder)), notes)


def _control(request: AuditRequest, library: Library, finder: Finder, train: Source) -> np.ndarray | None:
    """Images that were surely not trained on: --control, else --held-out."""
    path = request.control or request.held_out or (request.against if request.named == "--held-out" else None)
    if path is None:
        return None
    flag = "--control" if request.control else "--held-out"
    return _images(flag, path, request, library, finder, train)[1]


def _images(
    flag: str, path: Path, request: AuditRequest, library: Library, finder: Finder, train: Source
) -> tuple[Source, np.ndarray]:
    """Images that an option names, of the size and mode of the others."""
    source, pool = sources.others(flag, path, request, library, finder)
    sources.check_shapes(source, train)
    return source, pool.images


def _twins(
    path: Path, prepared: Prepared, request: AuditRequest, library: Library, finder: Finder, train: Source
) -> tuple[np.ndarray, np.ndarray]:
    """The published and the kept images, pair by pair."""
    sides = []
    for folder, called in zip((twins.PUBLISHED, twins.KEPT), prepared[:2], strict=True):
        source, images = _images("--claim", path / folder, request, library, finder, train)
        if sources.names(source) != called:
            raise GridError(f"--claim: {path / folder} holds a file that is no image; prepare the pairs again")
        sides.append(images)
    return sides[0], sides[1]


def _shared(
    path: Path, images: np.ndarray, request: AuditRequest, pool: PoolImages, control: np.ndarray | None
) -> Iterator[str]:
    """What claim and other images have in common, byte for byte, as sentences. GridError where no control is left."""
    ours = _contents(images)
    if control is not None:
        others = _contents(control)
        if others <= ours:
            flag = "--control" if request.control else "--held-out"
            raise GridError(f"{flag}: each image is in {path} too; name images that nobody could train on")
        if common := ours & others:
            yield f"{len(common)} control images are in {path} too, byte for byte: skipped as controls."
    if request.of_unknown:
        return
    apart = [] if pool.held_out is None else pool.held_out.tolist()
    kept = set(range(len(pool.images))) - set(apart)
    sides = [("--against", sorted(kept))] + ([("--held-out", apart)] if request.control else [])
    for flag, places in sides:
        if common := ours & _contents(pool.images[places]):
            yield f"{len(common)} of {len(ours)} images of {path} are in {flag} too, byte for byte."


def _contents(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def _beside(request: AuditRequest, library: Library, finder: Finder) -> Iterator[str]:
    """Keys of the weights of the models that a claim is looked at beside."""
    paths = [request.reference] if request.reference else []
    if request.references is not None:
        paths += references.snapshots(request.references, request.model)
    for path in paths:
        section = resolve("model", {"name": Given("given"), "path": Given(path)}, library)
        try:
            yield finder.pretrained(section, None).identity[:16]
        except GridError as error:
            flag = "--reference" if path == request.reference else references.FLAG
            raise GridError(str(error.args[0]).replace("model.path:", f"{flag}:", 1)) from None


def _records(parts: Sequence[tuple[np.ndarray, int, int]]) -> np.ndarray:
    import numpy as np

    records = np.zeros(sum(len(images) for images, _, _ in parts), claims.record(parts[0][0].shape[1:]))
    start = 0
    for images, role, number in parts:
        rows = slice(start, start := start + len(images))
        records["image"][rows], records["role"][rows], records["claim"][rows] = images, role, number
    return records
