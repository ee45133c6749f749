"""Intervals over seeds: within the range of a share, never finer than its samples, null where nothing is known."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy.stats import binom, t

from difgen_cli import report
from difgen_cli.engine.columns import ColumnSpec, declared
from difgen_cli.engine.plugins import Library
from difgen_cli.metrics import wilson
from difgen_cli.report import changes, table
from difgen_cli.report.plotting import captions, labels
from difgen_cli.report.study import comparison, curves, seeds

COLUMNS = {"mem_frac": ColumnSpec("share"), "auth_pct": ColumnSpec("%"), "brightness": ColumnSpec()}


def rows(hits: list[int], n: int = 1000, name: str = "mem_frac", top: float = 1.0) -> pd.DataFrame:
    """One line per seed: so many hits among n samples, with Wilson's interval."""
    ends = [wilson(count, n) for count in hits]
    return pd.DataFrame(
        {
            "size": "a",
            "seed": range(len(hits)),
            name: [top * count / n for count in hits],
            f"{name}_lo": [top * low for low, _ in ends],
            f"{name}_hi": [top * high for _, high in ends],
        }
    )


def line(frame: pd.DataFrame, name: str = "mem_frac") -> dict[str, float]:
    (found,) = curves.over_seeds(frame, ["size"], [name], COLUMNS).to_dict("records")
    return found


@pytest.mark.parametrize("hits", [[0, 0, 0], [1000] * 3, [0, 0, 1], [2, 3, 2], [480, 500, 490], [997, 998, 999]])
def test_seeds_that_differ_as_samples_do_have_wilsons_interval_of_all_their_samples(hits: list[int]) -> None:
    found = line(rows(hits))
    assert (found["lo"], found["hi"]) == pytest.approx(wilson(sum(hits), 3000), abs=1e-9)
    assert found["interval"] == "score over seeds"


@pytest.mark.parametrize("hits", [[0, 0, 40], [900, 1000, 1000], [300, 500, 700], [0, 12, 3], [1000, 0, 500]])
def test_seeds_that_differ_more_have_a_wider_interval_that_stays_a_share(hits: list[int]) -> None:
    found, finest = line(rows(hits)), wilson(sum(hits), 3000)
    assert 0 <= found["lo"] < finest[0] or found["lo"] == 0 == finest[0]
    assert 1 >= found["hi"] > finest[1] or found["hi"] == 1 == finest[1]
    assert found["lo"] < np.mean(hits) / 1000 < found["hi"]


def test_far_from_the_ends_a_wide_interval_is_students() -> None:
    """With many samples the score interval tends to t's."""
    shares = np.array([0.49, 0.5, 0.515])
    found = line(rows(list((shares * 10**6).astype(int)), 10**6))
    half = t.ppf(0.975, 2) * shares.std(ddof=1) / np.sqrt(3)
    assert (found["lo"], found["hi"]) == pytest.approx((shares.mean() - half, shares.mean() + half), abs=2e-3)


def test_a_wide_interval_is_symmetric_on_the_logit_scale() -> None:
    found = line(rows([0, 30, 4]))
    low, mean, high = (np.log(found[end] / (1 - found[end])) for end in ("lo", "mean", "hi"))
    assert high - mean == pytest.approx(mean - low, rel=1e-6)


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (1, 900), (450, 900), (899, 900), (0, 10**6)])
def test_the_number_of_samples_is_read_from_wilsons_interval(count: int, n: int) -> None:
    low, high = wilson(count, n)
    found = seeds.counts(np.array([count / n]), np.array([low]), np.array([high]))
    assert found[0] == pytest.approx(n, rel=1e-4)


def test_without_intervals_of_rows_the_seeds_alone_count_and_agreement_says_nothing() -> None:
    bare = rows([400, 500, 600]).drop(columns=["mem_frac_lo", "mem_frac_hi"])
    found = line(bare)
    assert 0 < found["lo"] < 0.35
    assert 0.65 < found["hi"] < 1
    for hits in ([0, 0, 0], [500, 500, 500], [1000] * 3):
        assert np.isnan(line(rows(hits).drop(columns=["mem_frac_lo", "mem_frac_hi"]))["lo"])


def test_a_metric_on_which_all_seeds_agree_has_no_interval_of_no_width() -> None:
    frame = pd.DataFrame({"size": "a", "seed": range(3), "gap_max": 0.1 + 0.2})
    found = line(frame, "gap_max")
    assert np.isnan(found["lo"])
    assert found["interval"] == ""
    assert found["mean"] == pytest.approx(0.3)


def test_a_share_in_per_cent_is_a_share() -> None:
    found, whole = line(rows([10, 11, 12], name="auth_pct", top=100.0), "auth_pct"), line(rows([10, 11, 12]))
    assert [found[end] for end in ("mean", "lo", "hi")] == pytest.approx([100 * whole[e] for e in ("mean", "lo", "hi")])


def test_which_columns_are_shares_follows_from_their_units_and_names() -> None:
    columns = {
        name: spec
        for metric in Library().names("score")
        for name, spec in declared(Library().signature("score", metric).constants["COLUMNS"]).items()
    }
    known = {name for name in columns if seeds.whole(name, columns) == 1.0 and not name.endswith(("_lo", "_hi"))}
    assert {"mem_frac", "mem_power", "train_pref", "twin_win", "recall", "probe_acc_050", "mia_auc_050", "ood_auroc",
            "copy_auc", "mia_twin_auc_100", "path_power_100"} <= known  # fmt: skip
    assert not {"train_pref_excess", "train_pref_share", "diffcls_gap", "path_overlap_100", "fd_test", "ct", "density",
                "gap_max", "twin_cos"} & known  # fmt: skip
    assert seeds.whole("auth_pct", columns) == 100.0
    assert seeds.whole("auth_pct_excess", columns) is None
    assert seeds.whole("path_pref", columns) == 1.0, "a column of a table"


def test_a_share_with_a_value_outside_its_range_is_none() -> None:
    frame = pd.DataFrame({"size": "a", "seed": range(3), "brightness": [-0.1, 0.1, 0.3]})
    (found,) = curves.over_seeds(frame, ["size"], ["brightness"], {"brightness": ColumnSpec("share")}).to_dict(
        "records"
    )
    assert found["interval"] == "t over seeds"


@pytest.mark.parametrize(("share", "spread"), [(3e-4, 0.5), (0.002, 0.5), (0.999, 0.0), (0.5, 0.03), (0.5, 0.0)])
def test_intervals_of_three_seeds_cover_the_share_at_the_ends_and_between(share: float, spread: float) -> None:
    """A short form of `make coverage`: 400 draws of three seeds with 1,000 samples, all of them one frame."""
    rng, rare = np.random.default_rng(1), min(share, 1 - share)
    sd = spread * rare if rare < 0.1 else spread
    shares = np.full((400, 3), share)
    if sd:
        size = share * (1 - share) / sd**2 - 1
        shares = rng.beta(share * size, (1 - share) * size, (400, 3))
    frames = [rows(list(rng.binomial(1000, own))).assign(size=str(i)) for i, own in enumerate(shares)]
    found = curves.over_seeds(pd.concat(frames), ["size"], ["mem_frac"], COLUMNS)
    covered = int(((found["lo"] <= share) & (share <= found["hi"])).sum())
    assert binom.ppf(0.001, 400, 0.92) <= covered <= binom.isf(0.001, 400, 0.98)


# Seeds ---------------------------------------------------------------------------------------------------------------


def seeded(paths: list[str], seeds_: int = 1, count: int = 3) -> report.Study:
    """A study in which these seeds move together, cells of one group differing in nothing else."""
    study = synthetic.study({"data.size": [32, 128]}, seeds=seeds_)
    parts = [
        study.rows.assign(**dict.fromkeys(paths, k), mem_frac=0.9 * study.rows["mem_frac"] + 0.01 * k, cell=[
            f"{cell}-{k}" for cell in study.rows["cell"]
        ])
        for k in range(count)
    ]  # fmt: skip
    whole = pd.concat(parts, ignore_index=True)
    axes = {**study.axes, **{path: list(range(count)) for path in paths}}
    return dataclasses.replace(study, rows=whole, axes=axes, seeds=seeds_)


@pytest.mark.parametrize("paths", [["sample.seed"], ["data.held_out_seed"], ["data.seed", "train.seed", "sample.seed"]])
def test_seeds_of_any_section_are_replicates_and_no_axis(paths: list[str]) -> None:
    study = seeded(paths)
    read = curves.read(study)
    assert read.paths == ["data.size"]
    assert read.seeds == 3
    found = curves.over_seeds(read.done, read.paths, ["mem_frac"], read.columns)
    assert found["n"].tolist() == [3, 3]
    base = study.rows[(study.rows["kind"] == "model") & (study.rows[paths[0]] == 0)].set_index("data.size")["mem_frac"]
    assert found["mean"].tolist() == pytest.approx((base + 0.01).tolist())


def test_a_second_seed_beside_the_first_is_averaged_within_it() -> None:
    read = curves.read(seeded(["sample.seed"], seeds_=2))
    found = curves.over_seeds(read.done, read.paths, ["mem_frac"], read.columns)
    assert found["n"].tolist() == [2, 2], "noise draws of one training are no trainings"
    assert read.replicate == "seed"


def test_captions_and_the_page_say_what_all_seeds_share(tmp_path: Path) -> None:
    shared = "All seeds share the held-out images and the sampler's noise, which the intervals do not include."
    study = synthetic.study({"data.size": [32, 128]}, seeds=3)
    report.write(study, tmp_path)
    assert shared in (tmp_path / "figures" / "memorization-against-frechet.txt").read_text(encoding="utf-8")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("which the intervals do not include") >= 3
    assert shared in table.notes(curves.read(study))
    noise = curves.read(seeded(["sample.seed"]))
    assert captions.common(noise) == "All seeds share the held-out images, which the intervals do not include."
    assert "(sample.seed varied)" in captions.varied(noise)
    both = curves.read(seeded(["data.held_out_seed", "sample.seed"]))
    assert captions.common(both) == ""


def test_the_table_prints_the_ends_of_a_share_and_no_zero_width() -> None:
    study = synthetic.study({"data.size": [32, 128]}, seeds=3)
    low, high = wilson(0, 1000)
    clean = study.rows.assign(mem_frac=0.0, mem_frac_lo=low, mem_frac_hi=high)
    read = curves.read(dataclasses.replace(study, rows=clean))
    words = next(column.words for column in table.columns(read) if column.header == "mem_frac")
    assert words == ["0.000 [0.0000, 0.0013]"] * 2 or words == [f"0 [0, {labels.number(wilson(0, 3000)[1], 2)}]"] * 2
    assert "± 0" not in " ".join(words)


def test_two_runs_differing_in_a_sampler_seed_are_paired_by_it() -> None:
    a, b = seeded(["sample.seed"]), seeded(["sample.seed"])
    moved = dataclasses.replace(b, rows=b.rows.assign(gap_max=b.rows["gap_max"] + 0.1 + 0.01 * b.rows["sample.seed"]))
    made = comparison.compare(("a", a), ("b", moved))
    lines = made.changes[made.changes["metric"] == "gap_max"]
    assert lines["pairs"].tolist() == [3, 3]
    assert made.matched == 6
    assert lines["mean"].to_numpy() == pytest.approx(0.11)


def test_the_change_of_a_share_has_newcombes_interval_and_stays_between_the_ends() -> None:
    def of(hits: list[int]) -> report.Study:
        study = synthetic.study({"data.size": [32]}, seeds=3)
        own = rows(hits)
        at = study.rows["kind"] == "model"
        ends = {name: own[name].to_numpy() for name in ("mem_frac", "mem_frac_lo", "mem_frac_hi")}
        changed = study.rows.copy()
        for name, values in ends.items():
            changed.loc[at, name] = values
        return dataclasses.replace(study, rows=changed)

    def change(a: list[int], b: list[int]) -> dict[str, float]:
        made = comparison.compare(("a", of(a)), ("b", of(b)))
        return made.changes[made.changes["metric"] == "mem_frac"].to_dict("records")[0]

    none = change([0, 0, 0], [0, 0, 0])
    high = wilson(0, 3000)[1]
    assert (none["mean"], none["lo"], none["hi"]) == pytest.approx((0, -high, high), abs=1e-9)
    full = change([0, 0, 0], [1000, 1000, 1000])
    assert full["hi"] == 1
    assert 0.99 < full["lo"] < 1
    assert full["interval"] == "score over paired seeds"
    found = change([0, 0, 0], [0, 0, 60])
    half = t.ppf(0.975, 2) * 0.02
    assert (found["lo"], found["hi"]) == pytest.approx((0.02 - half, 0.02 + half))
    assert "[" in changes._words(pd.DataFrame([found]), share=True)


def test_the_block_of_the_page_carries_what_its_script_needs() -> None:
    from difgen_cli.report.page import block

    study = seeded(["sample.seed"])
    content = json.loads(block.compose(study, curves.read(study), {}, {}))
    assert content["replicate"] == "sample.seed"
    assert content["shares"]["mem_frac"] == 1
    assert content["shares"]["auth_pct"] == 100
    assert "train_pref_excess" not in content["shares"]
    assert content["score"]["medians"][3] == pytest.approx(np.log(2))
