"""Work of another version: unknown fields are left out, and a newer layout is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.plan import Dependency, plan_table, work
from difgen_cli.engine.plan.work import Call, MetricSpec, Scoring, Training, Work
from difgen_cli.engine.store import StoreError, attempts
from difgen_cli.engine.worker.submission_spec import SubmissionSpec

OTHER = Dependency("o", "other", 5, "s", None, {"twin": Dependency("p", "third", 6, "t")})
CALL = Call("euler", {"steps": 2}, {})
METRIC = MetricSpec("gap", "m", {}, None)
SCORING = Scoring("model", "h", "slug", 10, "s", "k", True, CALL, {"cfg": CALL}, {"m": METRIC}, {"twin": OTHER})
TODO = Work([Training("h", "slug", (10, 20), 16, {"start": OTHER})], [SCORING])


def _with_more(said: object) -> object:
    """The same JSON, where everything that has fields has one more."""
    if isinstance(said, list):
        return [_with_more(one) for one in said]
    if not isinstance(said, dict):
        return said
    more = {name: _with_more(value) for name, value in said.items() if name not in ("settings", "own")}
    plain = {name: said[name] for name in ("settings", "own") if name in said}
    records = {"slug", "metric", "name", "trainings"} & said.keys()
    return more | plain | ({"later": 1} if records else {})


def test_fields_that_are_not_known_are_left_out() -> None:
    assert Work.load(json.dumps(_with_more(json.loads(TODO.dump())))) == TODO


def test_files_keep_the_word_of_0_1_0_for_the_key_of_a_run_folder() -> None:
    training, scoring = (json.loads(TODO.dump())[kind][0] for kind in ("trainings", "scorings"))
    assert training["home"] == TODO.trainings[0].run_key
    assert scoring["home"] == TODO.scorings[0].run_key
    assert "run_key" not in TODO.dump()


def test_work_of_0_1_0_names_what_a_training_begins_with() -> None:
    content = json.loads(TODO.dump())
    (training,) = content["trainings"]
    training["start"] = training.pop("needs")["start"]
    assert Work.load(json.dumps(content)) == TODO
    training["start"] = None
    assert Work.load(json.dumps(content)).trainings[0].needs == {}


def test_a_newer_layout_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "grids" / "g" / "submissions" / "1"
    (folder / "attempts").mkdir(parents=True)
    (folder / "work.json").write_text(json.dumps({"schema": 99, "units": []}))
    (folder / "submission.json").write_text(json.dumps({"schema": 99}))
    (folder / "attempts" / "train.1.json").write_text(json.dumps({"schema": 99, "state": "dreaming"}))
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"schema": "99"}), tmp_path / "plan.parquet")
    for look in (
        lambda: work.read(folder / "work.json"),
        lambda: Submission(folder).intent,
        lambda: SubmissionSpec.read(folder),
        lambda: attempts.history(folder / "attempts", "train"),
        lambda: plan_table.read(tmp_path / "plan.parquet"),
    ):
        with pytest.raises(StoreError, match="was written by a newer difgen"):
            look()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "trainings": [{}]}'])
def test_work_that_is_no_work_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "work.json").write_text(content)
    with pytest.raises(StoreError, match=r"work.json: "):
        work.read(tmp_path / "work.json")
