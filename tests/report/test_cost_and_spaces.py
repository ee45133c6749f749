"""Sentences for the first copy, for copies in a feature space, for pulls and pairs: what makes each appear and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import study as made_up
from test_findings import ALL_GREY, CLEAN, COPIES, of_study, told

from difgen_cli.engine.store import Store
from difgen_cli.report.findings.answers import answered
from difgen_cli.report.findings.answers.evidence import AuditedModel, Evidence, State
from difgen_cli.report.findings.numbers import Row
from difgen_cli.report.study import first_copy

NONE_YET = {"first_copy": None, "copy_every_lo": 100.6}
CHANGED = {"aligned_frac": 0.9, "aligned_frac_lo": 0.87, "aligned_shifted": 0.9, "first_copy": None,
           "first_changed_copy": 4}  # fmt: skip
WIDE = {"mem_frac_control": 0.3, "mem_frac_control_lo": 0.02, "mem_frac_control_hi": 0.4}


def shares(name: str, samples: float, control: float, train: float) -> dict[str, float]:
    parts = {name: samples, f"{name}_control": control, f"{name}_train": train}
    ends = {"_lo": -0.02, "_hi": 0.02}
    return parts | {f"{part}{end}": value + by for part, value in parts.items() for end, by in ends.items()}


def space(ratio: tuple[float, float, float], near: tuple[float, float, float], **more: Any) -> dict[str, Any]:
    return {"space_features": "sscd"} | shares("space_ratio", *ratio) | shares("space_near", *near) | more


COPIED = space((0.3, 0.01, 0.02), (0.4, 0.01, 0.05))
FEW_NEAR = space((0.01, 0.01, 0.01), (0.02, 0.01, 0.01), space_tail=0.2, space_tail_lo=0.1, space_tail_hi=0.3)


@pytest.mark.parametrize(
    ("rule", "changed", "says"),
    [
        ("first_copy", COPIES, "first copy is sample 2 of 300: on average one in 3.00 samples [2.56, 3.58] is one."),
        ("first_copy", COPIES | {"copy_every_lo": None}, "sample 2 of 300: on average one in 3.00 samples is one."),
        ("first_copy", NONE_YET, "None of 300 samples counts as a copy: at most 3 in 300 would"),
        ("first_copy", NONE_YET | {"sample.count": 12}, "None of 12 samples counts as a copy: at most 22.1 %"),
        ("first_copy", NONE_YET | {"sample.count": 1}, "None of 1 sample counts as a copy: at most 95.0 % of samples"),
        ("first_copy", CHANGED, "The first changed copy is sample 4 of 300."),
        ("first_copy", COPIES | WIDE, None),  # as many held-out images are copies
        ("first_copy", CHANGED | {"aligned_control": 0.2, "aligned_control_lo": 0.1, "aligned_control_hi": 0.3}, None),
        ("first_copy", NONE_YET | ALL_GREY, None),
        ("first_copy", NONE_YET | {"sample_distinct": 3}, None),
        ("first_copy", NONE_YET | {"mem_frac_control": 0.11, "mem_frac_control_lo": 0.08}, None),  # the rule is blind
        ("first_copy", NONE_YET | {"tile_copy_frac": 1.0, "tile_copy_frac_lo": 0.98}, None),
        ("first_copy", {}, None),
        ("in_a_space", COPIED, "In the feature space sscd, 30.0 % [28.0 %, 32.0 %] of the samples are copies by the "
         "ratio rule (held-out images: 1.00 % [−1.00 %, 3.00 %]; training images among one another: 2.00 %"),
        ("in_a_space", COPIED, "; 40.0 % [38.0 %, 42.0 %] of the samples have a cosine with a training image above"),
        ("in_a_space", space((0.01, 0.01, 0.01), (1.0, 0.9, 0.9)), "In the feature space sscd, 90.0 % [88.0 %, 92.0 "
         "%] of the held-out images have a cosine with a training image above the threshold: that rule decides"),
        ("in_a_space", FEW_NEAR, "20.0 % [10.0 %, 30.0 %] of the samples are more similar to a training image than"),
        ("in_a_space", FEW_NEAR | {"space_tail_lo": 0.005}, "no more copies than among held-out images are found: "
         "space_ratio 1.00 %"),
        ("in_a_space", COPIED | ALL_GREY, None),
        ("in_a_space", COPIED | {"sample_distinct": 4}, None),
        ("in_a_space", {}, None),
        ("pulled", {"cfg_mag_auc": 0.9, "cfg_mag_auc_lo": 0.8, "cfg_mag_auc_hi": 0.95}, "pulls copies more than other "
         "samples: of one copy and one other sample, the copy is pulled more in 90.0 % [80.0 %, 95.0 %] of pairs."),
        ("pulled", {"cfg_mag_auc": 0.2, "cfg_mag_auc_lo": 0.1, "cfg_mag_auc_hi": 0.3}, "pulls copies less than"),
        ("pulled", {"cfg_mag_auc": 0.6, "cfg_mag_auc_lo": 0.45, "cfg_mag_auc_hi": 0.7}, None),
        ("pulled", {"cfg_mag_auc": None}, None),
        ("reproduced", shares("rp_uncopied", 0.5, 0, 0) | {"rp_baseline": 0.1, "rp_baseline_hi": 0.2}, "50.0 % [48.0 "
         "%, 52.0 %] of the samples are like those of a network that was trained on the other half"),
        ("reproduced", shares("rp_uncopied", 0.2, 0, 0) | {"rp_baseline": 0.1, "rp_baseline_hi": 0.2}, None),
    ],
)  # fmt: skip
def test_each_rule_speaks_where_its_control_allows_it(rule: str, changed: dict[str, Any], says: str | None) -> None:
    sentence = told(**changed).get(rule)
    assert (sentence is None) if says is None else (sentence is not None and says in sentence)


@pytest.mark.parametrize(
    ("ratio", "claimed"), [((0.3, 0.01, 0.29), False), ((0.3, 0.27, 0.0), False), ((0.3, 0.01, 0.0), True)]
)
def test_what_held_out_or_training_images_reach_themselves_is_no_copy(ratio: Any, claimed: bool) -> None:
    said = told(**space(ratio, (0.0, 0.0, 0.0)))
    assert ("of the samples are copies by the ratio rule" in said["in_a_space"]) == claimed
    assert ("nothing_found" in said) != claimed


def test_copies_in_a_space_alone_are_an_answer() -> None:
    """SSCD may see copies that pixels miss; held-out images that are as similar take the answer back."""
    subject = AuditedModel("model/", "train/", 1000, "", "test/", 700, same_pool=True)
    for changed, state in ((COPIED, State.YES), (space((0.3, 0.3, 0), (0.4, 0.4, 0)), State.NOT_SHOWN)):
        answer = answered(Evidence(subject, Row(CLEAN | changed), Row({"mem_frac": 1.0})))[0]
        assert answer.state is state
        assert ("In the feature space sscd" in answer.text) == (state is State.YES)


def test_a_study_says_how_soon_the_first_copy_comes_where_copies_are_found() -> None:
    copied = {"mem_frac_lo": 0.1, "mem_frac_hi": 0.3, "mem_frac_control_hi": 0.01, "sample.count": 200}
    first = made_up({"data.size": [16, 64], "train.steps": [100, 1000]}).rows["data.size"].map({16: 3, 64: 40})
    said = of_study(**copied, first_copy=first, copy_every=5.0)["first_copies"]
    assert said == (
        "In 6 cells with more copies than among held-out images the first copy is sample 3 to 40, and on average one "
        "in 5.00 samples is one."
    )
    assert "first_copies" not in of_study(**{**copied, "mem_frac_lo": 0.0}, first_copy=first, copy_every=5.0)
    assert "first_copies" not in of_study(**copied, first_copy=None, copy_every=None)


def test_the_first_copy_and_its_cost_are_read_from_the_tables(tmp_path: Path) -> None:
    """Samples 3 and 7 of ten are copies, of which one is identical alone; another cell has none, a third is grouped."""
    store = Store(tmp_path)
    store.tables.mkdir(parents=True)
    seeds = np.tile(np.arange(10), 3)
    copies = np.isin(seeds, [7]) & (np.arange(30) // 10 != 1)
    lines = {"key": np.repeat(["a", "b", "c"], 10), "seed": seeds, "memorized": copies,
             "d1": np.where(np.isin(seeds, [3]) & (np.arange(30) // 10 != 1), 0.0, 1.0)}  # fmt: skip
    pq.write_table(pa.table(lines), store.tables / "neighbours.parquet")
    changed = {"key": ["x", "x", "x"], "seed": [4, 5, 6], "how": ["none", "plain", "shifted"]}
    pq.write_table(pa.table(changed), store.tables / "aligned.parquet")
    rows = pd.DataFrame({
        "kind": ["model", "model", "model", "heldout", "model"], "state": ["done"] * 4 + ["missing"],
        "sample.count": 10, "sample.groups": [None, None, 4, None, None],
        "result.memorization": ["a", "b", "c", "a", None], "result.aligned": [None, "x", None, "x", None],
    }, index=[5, 3, 9, 2, 1])  # fmt: skip
    read = first_copy.added(store, rows)
    assert read["first_copy"].fillna(0).tolist() == [4, 0, 4, 0, 0]
    assert read["copy_every"].fillna(0).tolist() == [5, 0, 5, 0, 0]
    assert read["first_changed_copy"].fillna(0).tolist() == [0, 7, 0, 0, 0]
    z2 = 1.959963984540054**2
    centre, half = (0.2 + z2 / 20) / (1 + z2 / 10), np.sqrt(z2 / 10 * 0.16 + z2**2 / 400) / (1 + z2 / 10)
    assert read.loc[5, "copy_every_lo"] == pytest.approx(1 / (centre + half))
    assert read.loc[5, "copy_every_hi"] == pytest.approx(1 / (centre - half))
    assert (1 - 1 / read.loc[3, "copy_every_lo"]) ** 10 == pytest.approx(0.05)  # ten without a copy are as rare as that
    assert read.loc[[3, 9, 2, 1], "copy_every_hi"].isna().all()
    assert read.loc[[9, 2, 1], "copy_every_lo"].isna().all()
    assert first_copy.added(store, rows.drop(columns="result.memorization")).shape[1] == 5
