"""Parts of the page of an audit: the answers, and the copied training images beside the samples that copy them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from difgen_cli.report.findings.answers import NOT_TESTED, NOT_TESTED_IS_NOT_SAFE, Answer
from difgen_cli.report.findings.answers.evidence import LEADS
from difgen_cli.report.findings.numbers import Row
from difgen_cli.report.page import gallery, parts
from difgen_cli.report.plotting import labels

if TYPE_CHECKING:
    from difgen_cli.report import Gallery, Pair
    from difgen_cli.report.study.album import Album
    from difgen_cli.report.study.copied import Copied
    from difgen_cli.report.study.standing_out import StandingOut

TESTS = {1: "1 random twins", 2: "2 copies", 3: "3 reference models", 4: "4 control images"}
CLAIMED = {  # head of a column of the table of claims -> what it shows
    "claim": "images", "test": "claim_rung", "images or pairs": "claim_n", "p": "claim_p",
    "p, corrected": "claim_p_holm", "references": "claim_references", "share used": "claim_share",
    "images copied": "claim_copies", "first by sample": "claim_first_copy",
    "AUROC without the model": "claim_blind_auc",
}  # fmt: skip
PAIRS = 24  # on the page: each a copied training image and the sample nearest to it
LOOKED_AT = 400  # samples, the most copied first, among which those are
LISTED = 40  # copied images in the table


def not_tested() -> str:
    """What no audit looks at, in words."""
    return f"{', '.join(NOT_TESTED)}. {NOT_TESTED_IS_NOT_SAFE}"


def listed(answers: Sequence[Answer]) -> str:
    """The answers under their questions, and what was not tested, as HTML."""
    lines = "".join(_answer(answer) for answer in answers)
    return f'<dl class="answers">{lines}<dt>Not tested</dt><dd class="untested">{escape(not_tested())}</dd></dl>'


def _answer(answer: Answer) -> str:
    lead = f"<b>{escape(answer.lead or LEADS[answer.state])}.</b>"
    remedy = f'<br><span class="remedy">To settle it: {escape(answer.remedy)}</span>' if answer.remedy else ""
    sentences = escape(" ".join(answer.sentences))
    return f'<dt>{escape(answer.question)}</dt><dd class="{answer.state.value}">{lead} {sentences}{remedy}</dd>'


def claims(lines: Sequence[Mapping[str, Any]]) -> str:
    """A table of the claims: which test, and its main numbers."""
    head_cells = "".join(f'<th scope="col" class="word">{escape(word)}</th>' for word in CLAIMED)
    body = ""
    for line in lines:
        words = [str(line["images"]), TESTS.get(line["claim_rung"], "none")]
        words += [_number(line.get(name)) for name in list(CLAIMED.values())[2:]]
        body += "<tr>" + "".join(f'<td class="word">{escape(word)}</td>' for word in words) + "</tr>"
    table = f"<table><thead><tr>{head_cells}</tr></thead><tbody>{body}</tbody></table>"
    note = parts.note(
        "The p-value is that of the claim by itself; corrected is for all claims. claims.csv has the rest."
    )
    return f'<div class="scroll" tabindex="0">{table}</div>{note}'


def _number(value: Any) -> str:
    number = Row({"value": value})["value"]
    if number is not None and number.is_integer():  # as counts are
        return f"{number:,.0f}"
    return "–" if number is None else labels.number(number)


def copies(copied: Copied | None, cell: str, pictures: Gallery) -> str:
    """One strip: for each copied training image the sample nearest to it; below it a table of them all."""
    if copied is None:
        return parts.note("The nearest training images were not measured.")
    if copied.images.empty:
        return parts.note("No sample counts as a copy.")
    title = "The sample, and right of it the training image that it copies"
    strip = gallery.section({cell: title}, lambda cells, _: _once(pictures(cells, LOOKED_AT)), PAIRS)
    below = parts.note(
        "Below: the distance to the nearest training image over that to the second nearest, of a copy less than 1/3. "
        "Each image is shown once. Copies that were changed, as moved or smoothed ones, are listed alone."
    )
    rest = len(copied.images) - LISTED
    more = parts.note(f"{rest:,} more are in copied.csv, next to this page.") if rest > 0 else ""
    return f"{strip}{below}<details><summary>All copied images</summary>{_table(copied)}{more}</details>"


def standing_out(best: StandingOut, sentences: Sequence[str], album: Album | None, *, with_images: bool) -> str:
    """The training images that the model denoises best, with the nearest samples, where somebody asked for them."""
    about = "".join(map(parts.note, sentences))
    if not with_images:
        return about + parts.note(
            "Which images these are is as private as the images: the same command with --images shows them here with "
            "their nearest samples, and writes exposed.csv next to this page."
        )
    head = ("training image", "nearest sample", "denoising error", "samples that copy it", "name")
    rows = "".join(_standing_out(line, album) for line in best.images.head(PAIRS).to_dict("records"))
    more = parts.note(f"All {len(best.images):,} are in exposed.csv, next to this page.")
    return f"{about}{_with_head(head, rows)}{more}"


def _standing_out(line: dict[Any, Any], album: Album | None) -> str:
    name = str(line.get("name") or f"image {line['place'] + 1:,}")
    pictures = ["", ""]
    if album is not None:
        pictures[0] = gallery.picture(album.image(str(line["pool"]), int(line["place"])), f"training image {name}")
        if pd.notna(line.get("sample")):
            png = album.sample(str(line["cell"]), int(line["sample"]))
            pictures[1] = gallery.picture(png, f"nearest sample of {name}")
    hits = "–" if pd.isna(line["hits"]) else f"{line['hits']:,.0f}"
    words = (*pictures, labels.number(line["loss"]), hits, escape(name))
    return "<tr>" + "".join(f'<td class="word">{word}</td>' for word in words) + "</tr>"


def _with_head(head: Sequence[str], rows: str) -> str:
    cells = "".join(f'<th scope="col" class="word">{escape(word)}</th>' for word in head)
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _table(copied: Copied) -> str:
    head = ("training image", "samples that copy it", "first such sample", "times in the training set")
    body = ""
    for line in copied.images.head(LISTED).to_dict("records"):
        words = (line.get("name") or line["place"] + 1, line["samples"], line["first"], line["times"])
        body += "<tr>" + "".join(f'<td class="word">{escape(str(word))}</td>' for word in words) + "</tr>"
    return _with_head(head, body)


def _once(pairs_by_cell: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Of the pairs that are copies, the first with each training image."""
    once: dict[str, list[Pair]] = {}
    for cell, pairs in pairs_by_cell.items():
        first: dict[bytes, Pair] = {}
        for pair in pairs:
            if pair.memorized or pair.identical:
                first.setdefault(pair.nearest_png, pair)
        once[cell] = list(first.values())[:PAIRS]
    return once
