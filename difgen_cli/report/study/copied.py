"""Which training images the samples of a model copy, and how often each stands in the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from difgen_cli.data import scaled
from difgen_cli.engine.store import Store, nearest
from difgen_cli.engine.store.access import exists, parsed
from difgen_cli.neighbours import related
from difgen_cli.report.study import loading
from difgen_cli.report.study.first_copy import PLAIN
from difgen_cli.report.study.loading import TrainingImages
from difgen_cli.text import printable

FAR = 0.99  # of the held-out images: what is farther from every training image than these is no image of the kind
CONTROLS_LEAST = 99  # held-out images, below which that quantile is not known


@dataclass(frozen=True)
class Copied:
    """The copies among the samples of one cell.

    images: a line for each distinct training image that is copied, the most often copied first: `place` (of the one
    nearest to the best copy, in the pool as it is loaded), `samples` (that copy it), `first` (the number of the first
    of them, from 1), `ratio` (least d1/d2), `times` (that it, or nearly the same image, stands in the training set),
    and `name` where the training images have names.
    samples: how many were compared. far: the share of them that is farther from every training image than 99 % of the
    held-out images are; None where that is not known.
    """

    images: pd.DataFrame
    samples: int
    far: float | None = None

    @property
    def repeated(self) -> int:
        """How many of the copied images stand twice or more in the training set."""
        return int((self.images["times"] > 1).sum())


def read(
    store: Store, cell: str, held_out_cell: str | None = None, names: Sequence[str] | None = None
) -> Copied | None:
    """The copies of a cell of a model; None where its nearest images were not measured, or it is of points.

    held_out_cell: the reference of held-out images. names: of the images of the pool, as they are loaded.
    """
    lines = nearest.neighbours(store, "cell", [cell])
    if lines.empty:
        return None
    folder = store.run_folder(str(lines["home"].iloc[0]), "", reference=bool((lines["kind"] != "model").any()))
    train = loading.training_images(store, folder)
    if train.pool.ndim != 4:
        return None
    copies = pd.concat([lines.loc[lines["memorized"] | lines["identical"]], _changed(store, cell)])
    copies = copies.sort_values("ratio", kind="stable")
    images = _images(copies, train)
    if names is not None:
        images = images.assign(name=[printable(names[place]) for place in images["place"]])
    return Copied(images, len(lines), _far(store, lines, held_out_cell))


def _changed(store: Store, cell: str) -> pd.DataFrame:
    """The copies that the metric `aligned` has beyond the plain rule's."""
    path = store.tables / "aligned.parquet"
    if not exists(path):
        return pd.DataFrame({"seed": [], "nn_index": [], "ratio": []})
    wanted = [("cell", "==", cell), ("how", "not in", list(PLAIN))]
    frame: pd.DataFrame = parsed(path, lambda p: pq.read_table(p, filters=wanted)).to_pandas()
    return frame[["seed", "nn_index", "ratio"]]


def _images(copies: pd.DataFrame, train: TrainingImages) -> pd.DataFrame:
    """The lines of `Copied.images`."""
    if copies.empty:
        return pd.DataFrame({name: np.zeros(0, int) for name in ("place", "samples", "first", "ratio", "times")})
    places = copies["nn_index"].to_numpy(np.int64)
    near, group = related(lambda at: scaled(train.images(at)), len(train.places), np.unique(places), train.mirrored)
    label = group[np.searchsorted(near, places)]
    sizes = np.bincount(group, minlength=len(near))
    lines = copies.assign(place=train.places[places], label=label).groupby("label", sort=False)
    frame = lines.agg(
        place=("place", "first"), samples=("seed", "size"), first=("seed", "min"), ratio=("ratio", "min")
    ).reset_index()
    frame = frame.assign(first=frame["first"].astype(int) + 1, times=sizes[frame["label"]]).drop(columns="label")
    return frame.sort_values(["samples", "ratio"], ascending=[False, True], kind="stable", ignore_index=True)


def _far(store: Store, lines: pd.DataFrame, held_out_cell: str | None) -> float | None:
    control: Sequence[float] = ()
    if held_out_cell is not None:
        control = nearest.neighbours(store, "cell", [held_out_cell])["d1"].to_list()
    if len(control) < CONTROLS_LEAST:
        return None
    return float((lines["d1"] > np.quantile(control, FAR)).mean())
