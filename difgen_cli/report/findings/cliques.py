"""Sentences for samples that a model makes again: a sign of copies that needs no training images, and no proof."""

from __future__ import annotations

from difgen_cli.report.findings.numbers import Row, count, share

SHARE = "clique_frac"


def made_again(row: Row, _: Row) -> str | None:
    """Samples with another one nearly the same; never called copies, which only training images could show."""
    if not row[SHARE] or row.constant:
        return None
    sentence = f"{share(row, SHARE)} of the samples are nearly the same as another sample, made from other noise"
    if row.has_values("clique_largest"):
        sentence += f", the largest group being {count(row.number('clique_largest'), 'sample')}"
    if row["clique_constant"]:
        sentence += f"; {count(row.number('clique_constant'), 'sample is', 'samples are')} of a single colour"
    return f"{sentence}: the model makes images again, as one does that copies, and one that makes few images."
