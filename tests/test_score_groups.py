"""`difgen score --group`: samples that are drawn together, by folders, labels and files, and what rests on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.data import digits
from difgen_cli.engine.plan import groups
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import sample_files

Score = Callable[..., Any]
PROMPTS, EACH = 8, 20
DATA = ("--against", "train.npz", "--held-out", "test.npz")


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """The command in this process, in a folder with 120 training and 400 held-out images, and samples of 8 prompts.

    Prompts 0 to 3 are copies of training images throughout, the others held out. `made/` has a folder for each prompt.
    """
    monkeypatch.chdir(tmp_path)
    images = digits.load().images
    train, test, other = images[:120], images[120:520], images[520 : 520 + PROMPTS * EACH]
    made = np.concatenate([train[: PROMPTS * EACH // 2], other[PROMPTS * EACH // 2 :]])
    np.savez("train.npz", images=train)
    np.savez("test.npz", images=test)
    np.savez("made.npz", images=made)
    np.savez("labelled.npz", images=made, labels=prompts())
    for place, image in enumerate(made):
        file = Path(f"made/prompt {place // EACH}/{place:04d}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sample_files.png(image))
    return lambda *words: CliRunner().invoke(app, ["score", *map(str, words)])


def prompts() -> np.ndarray:
    return np.repeat(np.arange(PROMPTS), EACH)


def found(score: Score, *words: Any) -> dict[str, Any]:
    """What the command says as JSON."""
    done = score(*words, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def results(kind: str) -> set[str]:
    """The names of all results of the samples (`trajectories`), or of the real images (`references`)."""
    return {path.name for path in Path("scores").glob(f"{kind}/*/results/*.json")}


def listed(name: str, **columns: Any) -> Path:
    pd.DataFrame(columns).to_csv(name, index=False)
    return Path(name)


def test_folders_labels_and_files_say_the_same_groups(score: Score) -> None:
    listed("by-index.csv", index=np.arange(160)[::-1], group=[f"p{k}" for k in prompts()[::-1]])
    names = [f"prompt {k // EACH}/{k:04d}.png" for k in range(160)]
    listed("by-name.csv", sample=[*names, "another.png"], group=[*prompts(), 99])
    table = pa.table({"index": np.arange(160), "group": prompts() * 10, "prompt": ["a dog"] * 160})
    pq.write_table(table, "by-index.parquet")
    ways = [
        ("made", "folder"), ("made", "label"), ("made", "by-name.csv"), ("made", "by-index.csv"),
        ("labelled.npz", "label"), ("made.npz", "by-index.parquet"),
    ]  # fmt: skip
    said = [found(score, samples, *DATA, "--metrics", "preference", "--group", spec) for samples, spec in ways]
    for one in said:
        assert one["rows"] == said[0]["rows"]
        assert one["notes"][-1].startswith("The samples come in 8 groups, ")
    assert len(results("trajectories")) == 3  # one for each content of the samples: the groups are the same


def test_intervals_are_over_groups_and_values_stay(score: Score) -> None:
    """Half of the prompts copy wholly: the share of copies is drawn for 8 prompts, not for 160 samples."""
    plain, grouped = (found(score, "made", *DATA, *group)["rows"]["model"] for group in ((), ("--group", "folder")))
    ends = ("_lo", "_hi", "_se")
    assert {n: v for n, v in plain.items() if not n.endswith(ends)} == {
        n: v for n, v in grouped.items() if not n.endswith(ends)
    }
    widths = [row["train_pref_excess_hi"] - row["train_pref_excess_lo"] for row in (plain, grouped)]
    assert widths[1] > 1.5 * widths[0]
    between = 0.5 * np.sqrt(0.25 / PROMPTS)  # the deviation of a mean of 8 that are 1 or 1/2
    assert widths[1] > 2 * 1.96 * between
    assert grouped["train_pref_control_lo"] == plain["train_pref_control_lo"]


def test_measures_that_know_no_groups_have_no_interval_over_samples(score: Score) -> None:
    metrics = ("--metrics", "frechet,authenticity,coverage,kernel")
    plain, grouped = (found(score, "made", *DATA, *metrics, *g)["rows"] for g in ((), ("--group", "folder")))
    for name in ("fd_se", "auth_pct_lo", "auth_pct_hi", "auth_pct_excess_lo", "precision_lo", "density_hi", "kd_se"):
        assert plain["model"][name] is not None
        assert grouped["model"][name] is None
    for name in ("fd_test", "auth_pct", "precision", "kd_test", "auth_pct_control_lo", "auth_pct_control_hi"):
        assert plain["model"][name] == grouped["model"][name] is not None
    for kind in ("heldout", "copycat"):  # real images come in no groups
        assert plain[kind] == grouped[kind]


def test_only_results_that_rest_on_the_groups_are_other_ones(score: Score) -> None:
    metrics = ("--metrics", "preference,frechet")
    found(score, "made", *DATA, *metrics)
    plain, real = results("trajectories"), results("references")
    assert len(plain) == 2
    first = found(score, "made", *DATA, *metrics, "--group", "folder")
    assert (len(results("trajectories")), results("references")) == (4, real)
    listed("halves.csv", index=np.arange(160), group=np.arange(160) % 40)
    found(score, "made", *DATA, *metrics, "--group", "halves.csv")
    assert len(results("trajectories")) == 6
    assert plain < results("trajectories")
    before = results("trajectories")
    assert found(score, "made", *DATA, *metrics, "--group", "folder")["rows"] == first["rows"]
    found(score, "made", *DATA, *metrics)
    assert results("trajectories") == before


def test_a_metric_without_intervals_over_samples_keeps_its_result() -> None:
    signature = Library().signature("score", "clusters")
    assert groups.independent(signature) == ()
    assert not groups.concern(signature)
    assert groups.concern(Library().signature("score", "preference"))
    assert not any("control" in name for name in groups.independent(Library().signature("score", "authenticity")))


def test_groups_are_those_of_the_samples_that_are_drawn(score: Score) -> None:
    said = found(score, "made", *DATA, "--metrics", "preference", "--group", "folder", "--count", 90)
    assert said["rows"]["model"]["train_pref_distinct"] <= 90
    assert "The samples come in 8 groups" in said["notes"][-1]
    rows = pd.read_parquet("scores/tables/rows.parquet").set_index("kind")
    assert rows.loc["model", "sample.groups"] == 8


def test_below_five_groups_the_note_says_that_there_is_no_interval(score: Score) -> None:
    listed("four.csv", index=np.arange(160), group=prompts() // 2)
    said = found(score, "made", *DATA, "--metrics", "preference", "--group", "four.csv")
    model = said["rows"]["model"]
    assert model["train_pref_lo"] is model["train_pref_excess_lo"] is model["train_pref_share_lo"] is None
    assert model["train_pref_excess"] > 0
    assert "4 groups" in said["notes"][-1]
    assert "below 5 groups there is no interval" in said["notes"][-1]
    assert "The samples come in 4 groups" in Path("report/made/report.html").read_text()


@pytest.mark.parametrize(
    ("samples", "spec", "sentence"),
    [
        ("made.npz", "folder", "made.npz, row 0 lies in no sub-folder of SAMPLES"),
        ("made.npz", "label", "no labels are stored with the samples"),
        ("made.npz", "nowhere.csv", "there is no such file; write folder, label, or a CSV or Parquet file"),
        ("made.npz", "short.csv", "1 of 160 samples are not in it, the first made.npz, row 159 (index 159)"),
        ("made.npz", "one.csv", "all 160 samples are in one group (x)"),
        ("made.npz", "twice.csv", "3 is in the groups 0 and 1; give each sample one"),
        ("made.npz", "empty.csv", "7 has no group"),
        ("made.npz", "words.csv", "the index 'three' is not a whole number"),
        ("made.npz", "columns.csv", "its columns are file, prompt; write folder, label, or"),
        ("made.npz", "double.csv", "several columns are called group; write folder, label, or"),
        ("made.npz", "broken.parquet", "this Parquet file cannot be read"),
        ("made", "names.csv", "160 of 160 samples are not in it, the first prompt 0/0000.png"),
    ],
)
def test_groups_that_do_not_fit_are_said_in_one_sentence(score: Score, samples: str, spec: str, sentence: str) -> None:
    listed("short.csv", index=np.arange(159), group=prompts()[:159])
    listed("one.csv", index=np.arange(160), group=["x"] * 160)
    listed("twice.csv", index=[*range(160), 3], group=[*prompts(), 1])
    listed("empty.csv", index=np.arange(160), group=[None if k == 7 else "a" for k in range(160)])
    listed("words.csv", index=["three"] * 160, group=prompts())
    listed("columns.csv", file=np.arange(160), prompt=prompts())
    listed("names.csv", sample=[f"{k:04d}.png" for k in range(160)], group=prompts())
    Path("double.csv").write_text("index,group,Group\n0,a,b\n")
    Path("broken.parquet").write_text("broken")
    done = score(samples, *DATA, "--group", spec)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith(f"--group {spec}: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("scores").exists()
