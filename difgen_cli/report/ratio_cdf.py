"""How near samples lie to the training images: the share below each ratio d1/d2, compared with real images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import layout, style
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper

KINDS = {"model": ("samples", "-"), "heldout": ("held-out images", "--"), "copycat": ("copycat", ":")}
COPY = 1 / 3  # Yoon et al. 2023


def figure(ratios: Mapping[str, np.ndarray], paper: Paper = PAGE) -> DrawnFigure | None:
    """The share of images whose d1/d2 is at most r, over r; `ratios` by kind. None where there are none of samples."""
    import matplotlib

    curves = {kind: np.sort(ratios[kind]) for kind in KINDS if len(ratios.get(kind, ()))}
    if "model" not in curves:
        return None
    with matplotlib.rc_context(cast(Any, paper.rc)):
        sheet = layout.sheet(paper, 1, 1, None)
        ax = sheet.grid[0, 0]
        handles: list[Any] = []
        for (kind, ordered), colour in zip(curves.items(), style.WORDS, strict=False):
            name, dashes = KINDS[kind]
            handles += ax.step(
                [0, *ordered, 1], [0, *_shares(ordered), 1], where="post", color=colour, linestyle=dashes, label=name
            )
        ax.axvline(COPY, color=style.MUTED, linewidth=0.8)
        ax.set(xlim=(0, 1), ylim=(0, 1.02))
        sheet.name_axes("d1/d2", "share of images at most")
        sheet.key(handles)
        files = sheet.render()
    frames = [pd.DataFrame({"kind": k, "ratio": r, "share": _shares(r)}) for k, r in curves.items()]
    counts = ", ".join(f"{len(r):,} {KINDS[k][0]}" for k, r in curves.items())
    caption = (
        "Distance to the nearest training image over that to the second nearest; left of the line, at 1/3, an image "
        f"counts as a copy. Samples of a model that does not copy follow the held-out images. {counts}."
    )
    alt = "Share of images below each ratio of distances to the two nearest training images"
    palette = dict(zip(style.WORDS, style.WORDS_DARK, strict=True))
    title = "How near samples lie to training images"
    return DrawnFigure("nearness", title, alt, caption, files, pd.concat(frames), palette)


def _shares(ratios: np.ndarray) -> np.ndarray:
    return np.asarray(np.arange(1, len(ratios) + 1) / len(ratios))
