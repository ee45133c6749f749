"""What sentences must say, computed a second time from a study's rows, in plain loops that share no code with them."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
from random_studies import Z
from scipy.stats import chi2, norm, t

from difgen_cli.report import Study

Setting = tuple[str, ...]
Pair = tuple[float, float]  # values at the level that is compared with, and at the other
Ends = tuple[float, float, float]  # a mean and its interval
LEAST_POWER, MOST_CONTROL, FEW = 0.5, 0.05, 10
SLACK, COUNTED = 1.01, 8  # what seeds must differ by, beyond rounding; counts below which more


def word(value: Any) -> str:
    return str(int(value)) if isinstance(value, (int, float, np.integer)) else str(value)


def interval(share: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's."""
    u = z * z / n
    half = math.sqrt(u * share * (1 - share) + u * u / 4) / (1 + u)
    centre = (share + u / 2) / (1 + u)
    return (0.0 if share <= 0 else centre - half), (1.0 if share >= 1 else centre + half)


def _over_seeds(rows: list[dict[str, Any]], name: str) -> float:
    """The mean over seeds of the means of their rows; NaN where one is not known."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for r in rows:
        by_seed[r["seed"]].append(r.get(name, math.nan))
    return float(np.mean([np.mean(values) for values in by_seed.values()]))


class Recomputed:
    """A study's rows as plain records, with its axes (those with two levels or more), and what they carry."""

    def __init__(self, study: Study) -> None:
        self.records = study.rows.to_dict("records")
        self.axes = {
            name: [word(v) for v in values] for name, values in study.axes.items()
            if len({r[name] for r in self.records}) > 1
        }  # fmt: skip
        self.by = [name for name in self.axes if name != "train.steps"]
        self.planned = {self.setting(r) for r in self.records}
        self.along = next((n for n in ("data.size", "model.width", "condition.name") if n in self.by), None)

    def setting(self, record: dict[str, Any]) -> Setting:
        return tuple(word(record[name]) for name in self.by)

    def last(self) -> dict[Setting, list[dict[str, Any]]]:
        """The finished cells of each setting at its last finished step."""
        done: dict[Setting, list[dict[str, Any]]] = defaultdict(list)
        for record in self.records:
            if record["state"] == "done":
                done[self.setting(record)].append(record)
        return {key: [r for r in own if r["step"] == max(o["step"] for o in own)] for key, own in done.items()}

    def states(self) -> dict[Setting, str]:
        """copies, none, differ, unseen, blind, few or open, of each planned setting."""
        states = dict.fromkeys(self.planned, "open")
        z = float(norm.ppf(1 - 0.025 / len(self.planned))) if len(self.planned) > 1 else Z
        for key, own in self.last().items():
            needed = ("mem_frac", "mem_frac_lo", "mem_frac_hi", "mem_frac_control_hi")
            rows = [r for r in own if all(not math.isnan(r.get(name, math.nan)) for name in needed)]
            if rows:
                states[key] = self._state(rows, z)
        return states

    def _state(self, rows: list[dict[str, Any]], z: float) -> str:
        by_seed: dict[int, list[bool]] = defaultdict(list)
        for r in rows:
            lower, control = interval(r["mem_frac"], r["sample.count"], z)[0], r["mem_frac_control_hi"]
            if not math.isnan(r.get("mem_frac_control_lo", math.nan)):
                control = interval(r["mem_frac_control"], 300, z)[1]
            by_seed[r["seed"]].append(lower > control)
        above = [all(one) for one in by_seed.values()]
        if any(r.get("sample_distinct", math.inf) < FEW for r in rows):
            return "few"
        if _over_seeds(rows, "mem_frac_control") > MOST_CONTROL:
            return "blind"
        if all(above):
            return "copies"
        if any(above):
            return "differ"
        seen = _over_seeds(rows, "mem_power") >= LEAST_POWER  # NaN is not
        return "none" if seen else "unseen"

    def mean_share(self, key: Setting) -> float:
        by_seed: dict[int, list[float]] = defaultdict(list)
        for r in self.last()[key]:
            if not math.isnan(r["mem_frac"]):
                by_seed[r["seed"]].append(r["mem_frac"])
        return float(np.mean([np.mean(values) for values in by_seed.values()]))

    def changes(self, axis: str, level: str, against: str, metric: str) -> dict[int, list[float]]:
        """By seed the changes of a metric at the last snapshots, of settings and steps that every such seed has."""
        whole = self._pairs(axis, level, against, metric)
        every = {seed for _, one in whole for seed in one}
        return {seed: [one[seed][1] - one[seed][0] for _, one in whole] for seed in every}

    def changes_at(self, compared: tuple[str, str, str], metric: str) -> dict[str, dict[str, Ends]]:
        """By other axis and its level the mean change and its interval, all of which hold together."""
        axis, *levels = compared
        whole = self._pairs(axis, *levels, metric)
        others = [name for name in self.by if name != axis]
        split: dict[str, dict[str, list[dict[int, Pair]]]] = {}
        for place, name in enumerate(others):
            split[name] = defaultdict(list)
            for key, one in whole:
                split[name][key[place]].append(one)
        split = {name: at for name, at in split.items() if len(at) > 1}
        among = sum(len(at) for at in split.values())
        return {
            name: {level: self._change(pairs, metric, among) for level, pairs in at.items()}
            for name, at in split.items()
        }

    def _change(self, pairs: list[dict[int, Pair]], metric: str, among: int) -> Ends:
        """Of Fréchet distances Student's t of the logarithms; of shares Newcombe's, or Student's t where wider and the
        seeds differ by more than their samples explain."""
        moved = [float(np.mean([one[seed][1] - one[seed][0] for one in pairs])) for seed in pairs[0]]
        mean, n = float(np.mean(moved)), len(moved)
        if n == 1:
            return mean, math.nan, math.nan
        spread = float(np.std(moved, ddof=1))
        half = float(t.ppf(1 - 0.025 / among, n - 1)) * spread / math.sqrt(n)
        if metric == "fd_test":
            return mean, mean - half, mean + half
        z, total = float(norm.ppf(1 - 0.025 / among)), len(pairs) * n * self.records[0]["sample.count"]
        a, b = (float(np.mean([one[seed][side] for one in pairs for seed in one])) for side in (0, 1))
        (low_a, high_a), (low_b, high_b) = (interval(share, total, z) for share in (a, b))
        low, high = mean - math.hypot(b - low_b, high_a - a), mean + math.hypot(high_b - b, a - low_a)
        explained = n * (a * (1 - a) + b * (1 - b)) / total
        rare = total * (min(a, 1 - a) + min(b, 1 - b))
        median = float(chi2.median(n - 1)) / (n - 1)
        most = SLACK * (median + (1 - median) * min(1.0, COUNTED / rare if rare else 1.0))
        if explained and spread**2 / explained > most:
            low, high = min(low, mean - half), max(high, mean + half)
        return mean, max(low, -1.0), min(high, 1.0)

    def _pairs(self, axis: str, level: str, against: str, metric: str) -> list[tuple[tuple[Any, ...], dict[int, Pair]]]:
        """By setting and step that every seed has both levels of, their values of each seed."""
        seen = {key for key, state in self.states().items() if state in ("copies", "none", "differ")}
        sides: dict[str, dict[tuple[Any, ...], list[float]]] = {level: defaultdict(list), against: defaultdict(list)}
        for key, own in self.last().items():
            at = dict(zip(self.by, key, strict=True))
            if key not in seen or at[axis] not in sides:
                continue
            others = tuple(value for name, value in at.items() if name != axis)
            for r in own:
                if not math.isnan(r[metric]):
                    value = math.log(r[metric]) if metric == "fd_test" else r[metric]
                    sides[at[axis]][(*others, r["step"], r["seed"])].append(value)
        found: dict[tuple[Any, ...], dict[int, Pair]] = defaultdict(dict)
        for key in set(sides[level]) & set(sides[against]):
            found[key[:-1]][key[-1]] = float(np.mean(sides[against][key])), float(np.mean(sides[level][key]))
        every = {seed for one in found.values() for seed in one}
        return [(key, one) for key, one in found.items() if set(one) == every]

    def gap(self, noise: list[dict[str, Any]]) -> tuple[float, float, float, int]:
        """The largest gap of the first seed, as the others have it, with its interval, and the places looked at."""
        cells = {r["cell"] for own in self.last().values() for r in own}
        heights: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
        for line in noise:
            if line["cell"] in cells:
                heights[(*self.setting(line), line["sigma_rel"])][line["seed"]] = math.log1p(line["gap"])
        every = sorted({seed for one in heights.values() for seed in one})
        whole = [one for one in heights.values() if len(one) == len(every)]
        top = max(whole, key=lambda one: one[every[0]])
        read = [top[seed] for seed in every[1:] or every]
        mean, looked = float(np.mean(read)), len(whole)
        z = Z if len(every) == 2 or looked == 1 else float(norm.ppf(1 - 0.025 / looked))
        half = 0.3 * z / Z  # the rows' own ends are 0.3 away
        if len(read) > 1:
            half = float(t.ppf(0.975, len(read) - 1)) * float(np.std(read, ddof=1)) / math.sqrt(len(read))
        return math.expm1(mean), math.expm1(mean - half), math.expm1(mean + half), looked

    def at_levels(self, state: str) -> tuple[set[str], set[str], int, int]:
        """Of a state: levels of the axis that a reader asks by, all of whose settings have it, and some of them; and of
        the latter how many have it, of how many."""
        states, place = self.states(), self.by.index(self.along or "")
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for key, own in states.items():
            counts[key[place]][0] += own == state
            counts[key[place]][1] += 1
        whole = {level for level, (some, every) in counts.items() if some == every}
        part = {level for level, (some, every) in counts.items() if 0 < some < every}
        return whole, part, sum(counts[level][0] for level in part), sum(counts[level][1] for level in part)

    def brackets(self) -> set[tuple[int, int]]:
        """Neighbouring planned sizes, the smaller with copies and the larger without."""
        if "data.size" not in self.by:
            return set()
        states, place = self.states(), self.by.index("data.size")
        groups: dict[Setting, list[tuple[int, str]]] = defaultdict(list)
        for key, state in states.items():
            groups[key[:place] + key[place + 1 :]].append((int(key[place]), state))
        pairs = (pair for own in groups.values() for pair in itertools.pairwise(sorted(own)))
        return {(low, high) for (low, first), (high, second) in pairs if (first, second) == ("copies", "none")}
