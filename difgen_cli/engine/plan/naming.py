"""Readable names of folders: what differs from the defaults, in letters that any file system takes."""

from __future__ import annotations

import math
from typing import Any


def data_words(settings: dict[str, Any]) -> list[str]:
    half, seed = settings["data.half"], settings.get("data.held_out_seed")
    words = [settings["data.name"], f"n{settings['data.size']}"]
    without = [f"without{short(settings['data.unlearn'])}"] if settings.get("data.retrain") else []
    count, kind = settings.get("data.canaries.count"), settings.get("data.canaries.kind")
    canaries = [f"{count}{kind}x{short(settings['data.canaries.repeats'])}"] if count else []
    coins = ["coins"] if settings.get("data.draw") == "coin" else []
    return [*words, *coins, *([half] if half else []), *([f"heldout{seed}"] if seed else []), *without, *canaries]


def condition_words(settings: dict[str, Any]) -> list[str]:
    name = settings["condition.name"]
    if name == "none":
        return []
    noise, permuted = settings.get("condition.noise"), settings.get("condition.permuted")
    altered = [*(["permuted"] if permuted else []), *([f"noise{short(noise)}"] if noise else [])]
    return [f"{name}{settings.get('condition.clusters', '')}", *altered]


def slug(words: list[str]) -> str:
    """A readable name that says what differs from the defaults: `digits-n128-kmeans10-mlp-width64-seed1`."""
    text = "-".join(words).lower()
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-." else "_" for c in text)[:80].strip("-._") or "x"


def short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else str(value)
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
