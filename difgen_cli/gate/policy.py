"""What a policy is: its rules, its controls, what must have been tried, and which weights are to be released."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

RELEASES = ("open-weights", "public-api", "internal")
ATTACKERS = ("samples", "denoiser", "weights", "weights_and_references")  # what an attacker has
CONTROLS = {  # name -> what is asked
    "blind": "Do training and held-out images differ without the model?",
    "permuted": "Is membership not told where who was in is drawn again?",
    "held_out_copies": "How many held-out images count as copies?",
    "copycat": "Is a model that only copies seen as one?",
    "ideal": "Is the ideal denoiser, which can only copy, seen as a copier?",
}
KINDS = ("model", "heldout", "copycat", "ideal")  # of rows that a control may look at
BOUNDS = ("interval", "value")
NO_CORRECTION, BONFERRONI = "none", "bonferroni"
CORRECTIONS = (NO_CORRECTION, BONFERRONI)
OPINION = "EDPB opinion 28/2024, paragraph 55"
# What others ask of a model before its release, and where they do
ATTACK_CLASSES = {
    "membership inference": OPINION,
    "attribute inference": OPINION,
    "exfiltration": OPINION,
    "regurgitation": OPINION,
    "model inversion": OPINION,
    "reconstruction": OPINION,
    "reproduction of protected works": "EU code of practice for general-purpose AI, copyright, measure 1.4",
    "differential privacy lower bound": "Steinke, Nasr and Jagielski 2023",
}


@dataclass(frozen=True)
class Rule:
    """One column and its limits, judged at the bad end of its interval.

    bound: `value` where the column has no interval. least_n, n_column: how much it must be estimated from, and the
    column that says so; least_power, power_column: the same of how well it would have seen. control: the name of a
    control; empty for a rule. kind: of the row that it is looked up in.
    """

    question: str
    column: str
    at_most: float | None = None
    at_least: float | None = None
    least_n: int | None = None
    n_column: str = ""
    least_power: float | None = None
    power_column: str = ""
    bound: str = "interval"
    control: str = ""
    kind: str = "model"

    @property
    def words(self) -> str:
        """The limits as they are read: `mem_frac at most 0.001`."""
        limits = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        limits += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        of = "" if self.kind == "model" else f" of {self.kind}"
        return f"{self.column}{of} {' and '.join(limits)}"


@dataclass(frozen=True)
class NamedWeights:
    """The weights that will be released, as a policy or a command names them.

    sha256: of each file, in hexadecimal digits. path: of a file or folder. step: of a checkpoint.
    """

    sha256: tuple[str, ...] = ()
    path: Path | None = None
    step: int | None = None

    @property
    def content(self) -> bool:
        """Whether a file is named, and not a step alone."""
        return bool(self.sha256) or self.path is not None


@dataclass(frozen=True)
class Policy:
    """A policy that was read and checked. text: its file; declared: when it says that it was written."""

    name: str
    text: str
    release: str
    attacker: str
    rules: tuple[Rule, ...]
    controls: tuple[Rule, ...] = ()
    required: tuple[str, ...] = ()
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    weights: NamedWeights = field(default_factory=NamedWeights)
    correction: str = NO_CORRECTION
    declared: datetime | None = None
    file: Path | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()
