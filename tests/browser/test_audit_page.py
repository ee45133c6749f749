"""The page of an audit in a real browser: nothing is loaded or run, nothing is wider than a telephone, and it is read
in the dark."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import synthetic
from shadow_study import Pictures

from browser.test_looks import SCHEMES, SCREENSHOTS, WIDTHS, audited
from difgen_cli.report import audit
from difgen_cli.report.findings.answers import AuditedModel
from difgen_cli.report.study.album import Album
from difgen_cli.report.study.copied import Copied
from difgen_cli.report.study.standing_out import StandingOut

LONG = "a/folder/of/a/name/without/any/break/" + "x" * 90


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of a made-up study, with long names."""
    study = synthetic.study({"train.steps": [250, 1000, 4000]}, seeds=1)
    rows = study.rows.assign(**{"sample.count": 1000})
    rows["mem_frac_control_lo"], rows["mem_frac_control_hi"] = 0.0, 0.005
    rows["mia_auc_025"], rows["mia_auc_025_lo"], rows["mia_auc_025_hi"] = 0.7, 0.65, 0.75
    images = pd.DataFrame(
        {"place": range(60), "samples": 3, "first": 7, "ratio": 0.1, "times": 2, "name": f"{LONG}.png"}
    )
    best = pd.DataFrame({"place": range(60), "loss": 0.1, "hits": 0.0, "pool": "0", "cell": "a", "name": f"{LONG}.png"})
    model = AuditedModel(LONG, f"{LONG}/train", 128, "0" * 64, f"{LONG}/test", 512, same_pool=True)
    pictured = dataclasses.replace(study, rows=rows, album=cast(Album, Pictures()))
    out = StandingOut(best, 128, 512)
    made = audit.Audited(pictured, model, Copied(images, 1000, 0.0), standing_out=out)
    return audit.write(made, tmp_path_factory.mktemp("audit"), images=True).page


@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_audit_fits_loads_nothing_and_is_accessible(browser: Any, page: Path, wide: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    requests: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(page.as_uri())
    opened.add_style_tag(content=".chart { content-visibility: visible !important; }")
    assert opened.evaluate("document.documentElement.scrollWidth") <= wide
    assert (
        opened.evaluate("document.querySelector('.answers dt').getBoundingClientRect().bottom") < 900
    )  # above the fold
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    (exposed,) = opened.query_selector_all("h2:text-is('The most exposed images') ~ .scroll")
    assert len(exposed.query_selector_all("tbody tr")) == 24
    assert len(exposed.query_selector_all("tbody img")) == 24, "the first cell has no samples"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=SCREENSHOTS / f"audit-{wide}-{scheme}.png", full_page=True)
    assert audited(opened) == []
    context.close()
