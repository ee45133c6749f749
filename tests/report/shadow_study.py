"""Studies whose seeds are models of one pool, with their losses image by image, and pictures of images and samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import synthetic
from shadow_worlds import Pool

from difgen_cli.report import Study
from difgen_cli.report.study import curves
from difgen_cli.report.study.curves import Curves

AXES = {"model.width": [16, 64], "train.steps": [100, 200]}


def planted(pool: Pool, axes: dict[str, list[int]] | None = None, groups: np.ndarray | None = None) -> Curves:
    """The curves of such a study."""
    return curves.read(planted_study(pool, axes, groups))


def planted_study(pool: Pool, axes: dict[str, list[int]] | None = None, groups: np.ndarray | None = None) -> Study:
    """A study of which every setting has the same subsets, and losses of its own; `groups`: of the pool's images."""
    study = synthetic.study(axes or AXES, seeds=pool.count)
    cells = study.rows[study.rows["kind"] == "model"]
    group = np.arange(pool.images) if groups is None else groups
    _, trained, _ = pool.draw(0)
    lines = []
    for k, (_, own) in enumerate(cells.groupby(list(axes or AXES), sort=False)):
        chance = np.random.default_rng(k)
        phi, _, of_H = pool.draw(0)
        for m, cell in enumerate(own.sort_values("seed")["cell"]):
            of_T = np.isin(group, group[trained[m]])
            for held_out, signal, in_T in ((False, phi[m], of_T), (True, of_H[m], np.zeros(pool.held_out, bool))):
                loss = np.exp(-signal - 0.01 * chance.standard_normal(len(signal)))
                place = np.arange(len(signal))
                about = {"cell": cell, "pool": "0" * 16, "held_out": held_out, "image": place, "trained": in_T}
                of, far = place if held_out else group, np.nan if held_out else 1.0 + place % 7
                about |= {"group": of, "group_size": 1, "condition": np.nan, "hits": np.nan if held_out else 0.0}
                lines.append(pd.DataFrame(about | {"loss": loss, "spacing": far, "train_distance": far}))
    frame = pd.concat(lines, ignore_index=True).astype({"pool": "category"})
    return replace(study, exposure=frame)


class Pictures:
    """An album of which the nearest sample of image k is number k, but for the models of the first cell."""

    def nearest_samples(self, lines: pd.DataFrame) -> pd.DataFrame:
        near = lines["image"].astype(float).where(lines["cell"] != lines["cell"].iloc[0])
        return pd.DataFrame({"d1": near + 0.5, "sample": near})

    def image(self, pool: str, place: int) -> bytes:
        return synthetic.picture(place)

    def sample(self, cell: str, number: int) -> bytes:
        return synthetic.picture(number + 1)
