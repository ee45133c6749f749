"""Sentences of random studies, read back: every number, direction and place must be what the rows say."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator

import numpy as np
import pytest
from random_studies import random_study
from recomputed import Ends, Recomputed
from test_first_findings import planted, sets_in

from difgen_cli.report import Study
from difgen_cli.report.findings import study as rules
from difgen_cli.report.study import curves

ORDINARY, ALL = 16, 500
SHORT = {"data.size": "N", "model.width": "width", "condition.name": "conditioning"}
NUMBER = r"[−\d.e+]+"


def value(text: str) -> float:
    return float(text.replace("−", "-"))


def near(text: str, expected: float) -> bool:
    """Whether a number of three digits, or four places, is this one."""
    return math.isclose(value(text), expected, rel_tol=0.006, abs_tol=6e-5)


def levels_of(words: str, axis: str, levels: list[str]) -> set[str]:
    """`N ≤ 64`, `N = 16 to 256`, `N = 16, 64 and 256`, `width 64`: the levels that are named."""
    words = re.sub(rf"^{SHORT[axis]} ?=? ?", "", words)
    if words[0] in "≤≥":
        place = levels.index(words[2:])
        return set(levels[: place + 1] if words[0] == "≤" else levels[place:])
    if " to " in words:
        first, last = (levels.index(word) for word in words.split(" to "))
        return set(levels[first : last + 1])
    return set(re.split(r", | and ", words))


def read_place(place: str, read: Recomputed) -> tuple[set[str], set[str], int, int]:
    """Levels with all of their settings, levels with some, and of these how many of how many."""
    axis = read.along or ""
    match = re.fullmatch(r"(?: at (?P<whole>.*?))?(?:(?: and)? in (\d+) of (\d+) settings? at (?P<part>.*))?", place)
    assert match, place
    whole, part = (
        levels_of(match[name], axis, read.axes[axis]) if match[name] else set() for name in ("whole", "part")
    )
    return whole, part, int(match[2] or 0), int(match[3] or 0)


def check_place(place: str, read: Recomputed, state: str) -> None:
    if read.along is None:
        assert place == ""
        assert list(read.states().values()) == [state]
    else:
        assert read_place(place, read) == read.at_levels(state)


def check_copying(sentence: str, study: Study, read: Recomputed) -> None:
    states = read.states()
    copied = re.search(
        r"models copy(?P<place>.*?): the .* (in every seed|in the one seed) \(mem_frac ([\d.e−]+)( \[.*?\])?"
        r"(?: to ([\d.e−]+)( \[.*?\])?)?(?:; |\))",
        sentence,
    )
    assert bool(copied) == ("copies" in states.values())
    if copied:
        check_place(copied["place"], read, "copies")
        shares = sorted(read.mean_share(key) for key, state in states.items() if state == "copies")
        assert near(copied[3], shares[0])
        assert near(copied[5] or copied[3], shares[-1])
        for number, ends in ((copied[3], copied[4]), (copied[5], copied[6])):
            if ends:
                low, high = re.findall(NUMBER, ends)
                assert value(low) <= value(number) <= value(high)
    none = re.search(
        r"finds no more(?: copies)? than among held-out images(?P<place>.*), in (?:any|the one) seed: there", sentence
    )
    assert bool(none) == ("none" in states.values())
    if none:
        check_place(none["place"], read, "none")


def check_effects(sentence: str, study: Study, read: Recomputed) -> None:
    """An average only where no two levels of another axis have sure changes of two signs, and both where they have."""
    averaged, _, turned = sentence.partition("No average is given ")
    spoken = {(*compared, metric): ends for compared, metric, ends in _averages(averaged, read)} if averaged else {}
    for compared in spoken:
        assert not _two_signs(read.changes_at(compared[:3], compared[3])), compared
    for part in _parts(turned.rstrip(".").split("by seed): ")[1]) if turned else []:
        _check_both_ways(part, read, spoken)


def _parts(listed: str) -> list[str]:
    return re.sub(r"; \d+ more comparison.*", "", listed).split("; ")


def _compared(part: str) -> tuple[str, str, str]:
    head = re.match(r"(.+?) against (.+?) (?:raises|lowers|does)", part)
    assert head, part
    axis = next(name for name, short in SHORT.items() if head[1].startswith(short))
    return axis, *(re.sub(rf"^{SHORT[axis]} ?=? ?", "", one) for one in (head[1], head[2]))


def _averages(told: str, read: Recomputed) -> Iterator[tuple[tuple[str, str, str], str, tuple[str, str]]]:
    for part in _parts(told.split("interval of its own: ")[1].rstrip(". ")):
        compared = _compared(part)
        seeds = int(re.search(r"(\d+) seeds?\)$", part)[1])
        settings = int((re.search(r"\((\d+) settings", part) or [0, 1])[1])
        pattern = rf"(raises|lowers|does not surely change) (\w+) \((× )?({NUMBER}) \[({NUMBER}), ({NUMBER})\]\)"
        for verb, metric, _, mean, low, high in re.findall(pattern, part):
            moved = read.changes(*compared, metric)
            means = [float(np.mean(own)) for own in moved.values()]
            assert (len(moved), {len(own) for own in moved.values()}) == (seeds, {settings})
            expected = math.exp(np.mean(means)) if metric == "fd_test" else float(np.mean(means))
            assert near(mean, expected)
            neutral = 1.0 if metric == "fd_test" else 0.0
            assert value(low) <= value(mean) <= value(high)
            verbs = {"raises": value(low) >= neutral, "lowers": value(high) <= neutral}
            assert verbs.get(verb, value(low) <= neutral <= value(high))
            yield compared, metric, (low, high)


def _two_signs(at: dict[str, dict[str, Ends]]) -> list[str]:
    """The axes at whose levels the change is surely above 0, and surely below."""
    return [
        name for name, of_level in at.items()
        if any(low > 0 for _, low, _ in of_level.values()) and any(high < 0 for _, _, high in of_level.values())
    ]  # fmt: skip


def _check_both_ways(part: str, read: Recomputed, spoken: Container[tuple[str, ...]]) -> None:
    numbers = rf"\((?:× )?({NUMBER}) \[({NUMBER}), ({NUMBER})\]\)"
    match = re.search(
        rf" raises (\w+) at (.+?) {numbers} and lowers it at (.+?) {numbers} "
        r"\(intervals hold for (?:all )?(\w+) levels together, (\d+) seeds\)$",
        part,
    )
    assert match, part
    compared, metric = _compared(part), match[1]
    assert (*compared, metric) not in spoken
    at = read.changes_at(compared, metric)
    axis = next(name for name, short in SHORT.items() if match[2].startswith(short))
    assert axis in _two_signs(at)
    assert match[10].replace("both", "2") == str(sum(map(len, at.values())))
    assert int(match[11]) == len(read.changes(*compared, metric))
    for words, told, most in ((match[2], match.groups()[2:5], max), (match[6], match.groups()[6:9], min)):
        expected = at[axis][re.sub(rf"^{SHORT[axis]} ?=? ?", "", words)]
        sure = [ends[0] for ends in at[axis].values() if (ends[1] > 0 if most is max else ends[2] < 0)]
        assert expected[0] == most(sure)
        scaled = np.exp(expected) if metric == "fd_test" else expected
        assert all(near(text, number) for text, number in zip(told, scaled, strict=True))


def check_gap(sentence: str, study: Study, read: Recomputed) -> None:
    match = re.search(rf"of (\d+) places?; there it is ({NUMBER}) \[({NUMBER}), ({NUMBER})\] times", sentence)
    assert match
    assert value(match[3]) > 0
    *expected, looked = read.gap(study.tables["noise"].to_dict("records"))
    assert int(match[1]) == looked
    assert all(near(text, number) for text, number in zip(match.groups()[1:], expected, strict=True))


def check_slope(sentence: str, study: Study, read: Recomputed) -> None:
    for mean, low, high, where, over in re.findall(
        rf"N\^({NUMBER}) \[({NUMBER}), ({NUMBER})\](?: for (.*?))? \(over (.*?), \d+ seeds?\)", sentence
    ):
        assert value(low) <= value(mean) <= value(high)
        words = set(where.split(", ")) if where else set()
        place, states = read.by.index("data.size"), read.states()
        seen = {
            key[place] for key, state in states.items()
            if state in ("copies", "none", "differ")
            and words == {f"{SHORT[n]} {v}" for n, v in zip(read.by, key, strict=True) if n != "data.size"}
        }  # fmt: skip
        assert levels_of(over, "data.size", read.axes["data.size"]) == seen


def check_undecided(sentence: str, study: Study, read: Recomputed) -> None:
    cells = len(study.rows)
    for count, state in re.findall(r"the (?:missing|failed) cells show: (\d+) of \d+ cells?; (run|sweep)", sentence):
        failed = int((study.rows["state"] == "failed").sum())
        done = int((study.rows["state"] == "done").sum())
        assert int(count) == (failed if state == "sweep" else cells - failed - done)
    for low, high in re.findall(r"where between N = (\d+) and (\d+) copying stops", sentence):
        assert (int(low), int(high)) in read.brackets()
    for place in re.findall(r"whether models copy(.*?): in \d+ of", sentence):
        check_place(place, read, "differ")
    reasons = {"no more are": "unseen", "the rule calls": "blind", "the samples are": "few"}
    for place, reason in re.findall(r"whether samples are copies(.*?): (no more are|the rule calls|the samples are)",
                                    sentence):  # fmt: skip
        check_place(place, read, reasons[reason])
    for words in re.findall(r"grows with N: at (.*?) it is there", sentence):
        states, place = read.states(), read.by.index("data.size")
        seen = {key[place] for key, state in states.items() if state in ("copies", "none", "differ")}
        assert levels_of(words, "data.size", read.axes["data.size"]) <= seen
    for low, high in re.findall(rf"changes mem_frac: {NUMBER} \[({NUMBER}), ({NUMBER})\]", sentence):
        assert value(low) <= 0 <= value(high)


def check_controls(sentence: str, study: Study, read: Recomputed) -> None:
    """The numbers are of means over seeds, as the table's are."""
    match = re.search(r"at most ([\d.e−]+) % of held-out.*?(?:catch ([\d.]+) % or more)?", sentence)
    assert match
    rows = [r for own in read.last().values() for r in own]
    assert value(match[1]) <= 100 * max(r["mem_frac_control"] for r in rows if r["mem_frac_control"] >= 0) + 0.06


CHECKS = {
    "copying": check_copying, "effects": check_effects, "gap": check_gap, "slope": check_slope,
    "undecided": check_undecided, "controls": check_controls,
}  # fmt: skip


def sentences_of(study: Study) -> dict[str, str]:
    return dict(rules.rules_that_speak(curves.read(study)))


def check(number: int) -> dict[str, str]:
    study = random_study(number)
    written, read = sentences_of(study), Recomputed(study)
    for name, sentence in written.items():
        assert not re.search(r"\b(nan|None|inf)\b|  |–|\(\)|\[\]", sentence), (number, name, sentence)
        if name in CHECKS:
            try:
                CHECKS[name](sentence, study, read)
            except Exception as error:
                raise AssertionError(f"study {number}, {name}: {sentence}") from error
    if {"copies", "none"} & set(read.states().values()):
        assert "copying" in written, number
    _check_settled(written)
    return written


def _check_settled(written: dict[str, str]) -> None:
    """Only numbered questions are settled, and cells are new ones."""
    if "settle" in written:
        match = re.match(r"([\d,]+) new cells?(?: in ([\d,]+) trainings?)? would settle ", written["settle"])
        assert match, written["settle"]
        assert all(int(number.replace(",", "")) >= 1 for number in match.groups() if number)
        settled = re.findall(r"\((\d)\)", written["settle"])
        assert settled
        assert set(settled) <= set(re.findall(r"\((\d)\) (?:how|what|where|whether)", written["undecided"]))


def test_no_sentence_of_random_studies_contradicts_its_rows() -> None:
    spoken = set().union(*(check(number) for number in range(ORDINARY)))
    assert {*CHECKS, "settle", "few_distinct", "blind"} - {"slope"} <= spoken


@pytest.mark.long
def test_no_sentence_of_500_random_studies_contradicts_its_rows() -> None:
    written = [check(number) for number in range(ORDINARY, ALL)]
    assert {*CHECKS, "settle", "few_distinct", "blind"} - {"slope"} <= set().union(*written)
    turned = ["No average is given" in one.get("effects", "") for one in written]
    assert sum(turned) >= 5


def test_a_slope_of_each_width_is_over_the_sizes_that_the_rows_carry() -> None:
    """Random studies have next to never three sizes whose onsets have both ends."""
    steps = [50, 100, 200, 400, 800, 1600, 3200]
    study = planted({"data.size": [16, 64, 256], "train.steps": steps, "model.width": [64, 256]}, sets_in)
    sentence = sentences_of(study)["slope"]
    assert " for width 64 (over N = 16 to 256, 3 seeds); N^" in sentence
    check_slope(sentence, study, Recomputed(study))
