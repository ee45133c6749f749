"""Policies from TOML: every mistake is one sentence with its line, and what may be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows_of_a_run import POLICY, declared, policy

from difgen_cli.engine.grid.document import GridError
from difgen_cli.gate import reading
from difgen_cli.gate.document import places_of
from difgen_cli.gate.policy import ATTACK_CLASSES

MORE = 'question = "More?"\n'
MISTAKES = {  # what is replaced, by what, the line that is named, the sentence
    "a key of a rule": (
        "at_most = 0.01\n", "at_mots = 0.01\n",
        8, "rules[0].at_mots: unknown key; did you mean at_most?",
    ),
    "a key at the top": ("name =", "nmae =", 1, "nmae: unknown key; did you mean name?"),
    "a table": ("[controls.blind]", "[controls.blnid]", 18, "controls.blnid: unknown key; did you mean blind?"),
    "a column": (
        '"mem_frac"\nat_most', '"mem_fraq"\nat_most',
        7, "rules[0].column: no metric has a column mem_fraq; did ",
    ),
    "a column of words": (
        '"mem_frac"\nat_most = 0.01\nleast_n = 900\nleast_power = 0.5', '"fd_features"\nat_most = 1.0', 7,
        "fd_features holds words, not numbers",
    ),
    "a release": (
        '"open-weights"', '"open weights"',
        2, "'open weights' is none of open-weights, public-api, internal; d",
    ),
    "no release": ('release = "open-weights"\n', "", 0, "release: not given: choose from open-weights, public-api"),
    "an attacker": ('"weights"\n', '"weight"\n', 3, "attacker: 'weight' is none of samples, denoiser, weights"),
    "no limit": ("at_most = 0.01\n", "", 5, "rules[0]: no limit is given; add at_most or at_least"),
    "a limit in per cent": (
        "at_most = 0.01\n", "at_most = 1.5\n",
        8, "rules[0].at_most: 1.5 is no share; 1 % is 0.01",
    ),
    "a limit that nothing is beyond": (
        "at_most = 0.01\n", "at_most = 1\n",
        8, "no share is beyond 1: the rule could not f",
    ),
    "limits that nothing meets": (
        "at_most = 0.6", "at_most = 0.6\nat_least = 0.7",
        16, "0.7 is above at_most, 0.6: nothing",
    ),
    "a limit that is NaN": (
        "at_most = 0.01\n", "at_most = nan\n",
        8, "rules[0].at_most: must be a number, not nan",
    ),
    "a limit that is true": (
        "at_most = 0.01\n", "at_most = true\n",
        8, "rules[0].at_most: must be a number, not True",
    ),
    "a limit in quotes": (
        "at_most = 0.01\n", 'at_most = "0.01"\n',
        8, "rules[0].at_most: must be a number, not '0.01'",
    ),
    "no number of samples": (
        "least_n = 900\n", "",
        5, "rules[0].least_n: not given; sample_distinct says the n of mem_fr",
    ),
    "half a sample": (
        "least_n = 900\n", "least_n = 0.5\n",
        9, "rules[0].least_n: must be a whole number of at least 1",
    ),
    "no power": (
        "least_power = 0.5\n", "",
        5, "rules[0].least_power: not given; mem_power says the power of mem_frac",
    ),
    "a power of zero": (
        "least_power = 0.5\n", "least_power = 0\n",
        10, "rules[0].least_power: must be above 0, not 0",
    ),
    "power of what has none": (
        "least_n = 400\n", "least_n = 400\nleast_power = 0.5\n",
        17, "nothing declares the power of m",
    ),
    "a value where there is an interval": (
        "at_most = 0.6", 'at_most = 0.6\nbound = "value"',
        16, "mia_auc_025 has an interval",
    ),
    "an interval where there is none": (
        'bound = "value"\n', "",
        19, 'blind_auc_lo has no interval; write bound = "value"',
    ),
    "no blind control": (
        "[controls.blind]", "[controls.ideal]",
        14, "mia_auc_025 takes held-out images for what training",
    ),
    "no control of copies": (
        "[controls.held_out_copies]", "[controls.ideal]",
        7, "mem_frac says little without mem_frac_con",
    ),
    "a kind of row": ('"copycat"', '"copycats"', 30, "'copycats' is none of model, heldout, copycat, ideal; did"),
    "an attack": ('"regurgitation"]', '"regurgitations"]', 34, "did you mean regurgitation?"),
    "an attack that is and is not required": (
        '"regurgitation"]', '"regurgitation"]\nnot_applicable = {regurgitation = "none"}', 34, "choose one",
    ),
    "a reason that is missing": (
        '"regurgitation"]', '"regurgitation"]\nnot_applicable = {exfiltration = ""}', 35, "must be a text in quotes",
    ),
    "a SHA-256": (
        "[[rules]]\nquestion = \"Does", '[weights]\nsha256 = "abc"\n[[rules]]\nquestion = "Does',
        6, "'abc' is no SHA",
    ),
    "a step": (
        "[[rules]]\nquestion = \"Does", '[weights]\nstep = -1\n[[rules]]\nquestion = "Does',
        6, "weights.step: must be a w",
    ),
    "a correction": (
        "[[rules]]\nquestion = \"Does", '[selection]\ncorrection = "holm"\n[[rules]]\nquestion = "Does', 6,
        "'holm' is none of none, bonferroni",
    ),
    "a time without a zone": (
        '"weights"\n', '"weights"\ndeclared = 2026-01-31T12:00:00\n',
        4, "must be a time with its zone",
    ),
    "a time in quotes": (
        '"weights"\n', '"weights"\ndeclared = "2026-01-31"\n',
        4, "declared: must be a time with its zone",
    ),
    "no TOML": ('name = "planted"', "name = planted", 1, "not TOML: Invalid value"),
    "a key twice": (
        'name = "planted"', 'name = "planted"\nname = "again"',
        2, "not TOML: Cannot overwrite a value",
    ),
}  # fmt: skip


def test_the_planted_policy_is_whole() -> None:
    read = policy()
    assert [rule.column for rule in read.rules] == ["mem_frac", "mia_auc_025"]
    assert [(rule.n_column, rule.power_column) for rule in read.rules] == [
        ("sample_distinct", "mem_power"), ("mia_images", ""),
    ]  # fmt: skip
    assert [rule.kind for rule in read.controls] == ["model", "model", "copycat"]


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_at_its_line(case: str) -> None:
    old, new, line, sentence = MISTAKES[case]
    assert old in POLICY
    with pytest.raises(GridError) as raised:
        policy(POLICY.replace(old, new, 1))
    assert sentence in str(raised.value)
    assert raised.value.place is not None
    assert raised.value.place.line == line


def test_a_policy_without_rules_is_refused() -> None:
    with pytest.raises(GridError, match=r"^rules: a policy has at least one \[\[rules\]\]"):
        policy(POLICY.partition("[[rules]]")[0])


def test_a_plug_in_column_names_its_own_count_and_power(tmp_path: Path) -> None:
    own = f'[[rules]]\n{MORE}column = "brightness"\nat_most = 9\nbound = "value"\n'
    read = policy(POLICY + own + 'least_n = 9\nn_column = "sample.count"\n', "brightness")
    assert (read.rules[-1].n_column, read.rules[-1].bound) == ("sample.count", "value")
    with pytest.raises(GridError, match="nothing declares the n of brightness; name its column as n_column"):
        policy(POLICY + own + "least_n = 9\n", "brightness")
    with pytest.raises(GridError, match="no metric has a column brightness"):
        policy(POLICY + own)


def test_membership_calibrated_by_seeds_needs_the_permuted_control() -> None:
    rule = f'[[rules]]\n{MORE}column = "cal_auc"\nat_most = 0.6\nleast_n = 20\n'
    with pytest.raises(GridError, match=r"add \[controls.permuted\]"):
        policy(POLICY + rule)
    permuted = (
        '[controls.permuted]\ncolumn = "cal_control_permuted"\nbound = "value"\nat_least = 0.45\nat_most = 0.55\n'
    )
    assert policy(POLICY + permuted + rule).rules[-1].n_column == "images_in"


def test_every_end_of_an_interval_and_every_power_that_metrics_declare_is_a_column() -> None:
    columns = declared()
    for name, column in columns.items():
        others = (*(column.ends or ()), column.spec.n, column.spec.power, column.spec.control)
        assert all(other in columns for other in others if other), name
    assert columns["mem_frac"].ends == ("mem_frac_lo", "mem_frac_hi")
    assert columns["eps_least"].spec.power == "eps_most"
    assert columns["mia_auc_025"].foreign
    assert not columns["mem_frac"].foreign
    assert columns["blind_auc_lo"].spec.n == "blind_images"


def test_places_are_those_of_the_keys() -> None:
    places = places_of('a = 1\n\n[[rules]]\nx = 1\n  [[rules]]\n  x = 2\n[controls."b c"]\n"y z" = 3\n')
    lines = {path: place.line for path, place in places.items()}
    assert lines == {
        "a": 1, "rules[0]": 3, "rules[0].x": 4, "rules[1]": 5, "rules[1].x": 6, "controls.b c": 7,
        "controls.b c.y z": 8,
    }  # fmt: skip
    assert places["rules[1].x"].column == 3


def test_the_shipped_policy_is_read_by_its_name_and_every_number_has_a_reason(tmp_path: Path) -> None:
    file = reading.file_of(Path("open-weights"))
    read = reading.read(file, declared())
    assert read.name == "open-weights"
    assert set(read.required) <= ATTACK_CLASSES.keys()
    assert read.declared is None  # nobody but who uses it can say when it was written
    assert file.read_text(encoding="utf-8").count("#") > 30
    assert "gdpr" not in file.read_text(encoding="utf-8").lower()
    assert file == Path(__file__).parents[2] / "policies" / "open-weights.toml"


def test_what_is_no_file_is_refused_with_a_name_that_is_near() -> None:
    with pytest.raises(GridError, match="there is no such file; shipped are open-weights; did you mean open-weights"):
        reading.file_of(Path("open-weight"))
