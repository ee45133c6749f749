"""The newer instruments' columns and tables, made up, on top of a synthetic study."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import synthetic

from difgen_cli.report import Study

PATH, NEAR = ("050", "100", "200"), ("025", "050", "100")
SIGMAS = (0.1, 0.5, 1.0, 2.0, 4.0)


def added(study: Study) -> Study:
    """Path overlap (blind at 2 σ_d for the largest size), twins, membership and deviations beside the study's own."""
    rows = study.rows.copy()
    model = rows["kind"] == "model"
    size, step = rows["data.size"].astype(float), pd.to_numeric(rows["step"]).fillna(1000.0)
    copied = 1 / (1 + (size / step * 8) ** 1.5)
    jitter = 0.02 * np.random.default_rng(0).standard_normal(len(rows))
    blind = size == size.max()
    new: dict[str, pd.Series] = {}
    for place, level in enumerate(PATH):
        power = 0.99 - 0.1 * place - 0.2 * (place == 2) * blind
        new[f"path_power_{level}"] = power
        new[f"path_overlap_{level}"] = (copied + jitter).where(power >= 0.65)
        new[f"path_pref_{level}"] = 0.5 + 0.5 * copied
    for place, level in enumerate(NEAR):
        new[f"mia_auc_{level}"] = 0.5 + 0.45 * copied / (1 + place)
        new[f"mia_twin_auc_{level}"] = 0.5 + 0.4 * copied / (1 + place)
        new[f"ideal_dev_{level}"], new[f"wiener_dev_{level}"] = 0.3 * (1.01 - copied), 0.2 + 0.3 * copied
    new |= {"twin_cos": 1 - copied, "twin_win": (1 - copied + jitter).clip(0, 1), "path_states": 1000 + 0 * size}
    new |= {"twin_ceiling": 0.98 + 0 * size, "twin_baseline": 0.1 + 0 * size}
    new |= {"twin_pairs": 256 + 0 * size, "mia_images": size.clip(upper=900)}
    rows = rows.assign(**{name: values.where(model & (rows["state"] == "done")) for name, values in new.items()})
    columns = {**study.columns, **{name: synthetic.declared(name, "", name) for name in new}}
    return dataclasses.replace(study, rows=rows, columns=columns, tables=study.tables | _tables(rows, copied))


def _tables(rows: pd.DataFrame, copied: pd.Series) -> dict[str, pd.DataFrame]:
    done = rows[(rows["kind"] == "model") & (rows["state"] == "done")].assign(copied=copied)
    context = done[[*[c for c in done if "." in c], "kind", "seed", "step", "cell", "copied", "data.size"]]
    lines = context.loc[:, ~context.columns.duplicated()].merge(pd.DataFrame({"sigma_rel": SIGMAS}), how="cross")
    power = 0.99 - 0.09 * lines["sigma_rel"]
    path = lines.assign(path_power=power, path_pref=0.5 + lines["copied"] / 2)
    path["path_overlap"] = lines["copied"].where(power >= 0.65)
    deviation = lines.assign(ideal_dev=0.4 * (1.01 - lines["copied"]) / lines["sigma_rel"], n_pairs=1024)
    deviation = deviation.assign(wiener_dev=0.2 / lines["sigma_rel"], wiener_dev_pool=0.3 / lines["sigma_rel"])
    return {"path": path, "deviation": deviation}


def field(study: Study, sigmas: tuple[float, ...] = (0.1, 0.2, 0.5)) -> Study:
    """A flow field for every cell: everything flows to the origin."""
    ticks = np.linspace(-2, 2, 5)
    x, y = (part.ravel() for part in np.meshgrid(ticks, ticks))
    points = pd.DataFrame({"kind_of_point": "grid", "x": x, "y": y})
    ring = pd.DataFrame({"kind_of_point": ["train", "held_out"], "x": [1.0, -1.0], "y": [0.0, 0.0]})
    points = pd.concat([points, ring], ignore_index=True).merge(pd.DataFrame({"sigma_rel": sigmas}), how="cross")
    done = study.rows[(study.rows["kind"] == "model") & (study.rows["state"] == "done")]
    lines = done[[*[c for c in done if "." in c], "kind", "seed", "step", "cell"]].merge(points, how="cross")
    lines = lines.assign(dx=-lines["x"], dy=-lines["y"])
    return dataclasses.replace(study, tables=study.tables | {"field": lines})


def closed_form(study: Study) -> Study:
    """The same study of a model that is not trained: no steps, no settings of training."""
    training = [c for c in study.rows if c.startswith("train.")]
    empty = {"step": None, "images_seen": None, "epochs": None}
    tables = {name: table.drop(columns=training).assign(step=np.nan) for name, table in study.tables.items()}
    return dataclasses.replace(study, rows=study.rows.drop(columns=training).assign(**empty), tables=tables)
