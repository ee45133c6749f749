"""`difgen claim`: pairs of images of which coins choose one to publish, so that their use can be proved later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import messages, output
from difgen_cli.cli.options import check_choice
from difgen_cli.format import counted

ACTIONS = ("prepare",)


@command()
def claim(
    action: Annotated[str, typer.Argument(help="prepare.", metavar="ACTION")],
    images: Annotated[Path, typer.Argument(help="A folder of images that nobody has seen.", metavar="IMAGES")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for what is published and kept.", metavar="FOLDER")],
    key: Annotated[Path, typer.Option("--key", help="A file for the key, which stays with you.", metavar="FILE")],
    twins: Annotated[
        Path | None, typer.Option(help="The other image of each pair, by the same name.", metavar="FOLDER")
    ] = None,
) -> None:
    """Pair images, and let a coin decide which of each pair is published.

    Publish FOLDER/published, keep the rest and the key; FOLDER/manifest.json may be deposited with a date. Later,
    `difgen audit MODEL --claim FOLDER --claim-key FILE` tests whether the model knows the published ones better.

    Example: difgen claim prepare unpublished/ --out my_claim --key my_claim.key
    """
    with errors():
        from difgen_cli.audit import twins as prepared

        check_choice("claim", action, ACTIONS)
        twins_of = prepared.prepare(images, out, key, twins)
        console = output()
        of = counted(twins_of.skipped, "image")
        verb = "is" if twins_of.skipped == 1 else "are"
        skipped = f"; {of} without a partner, or the same as another, {verb} left out" if twins_of.skipped else ""
        for note in twins_of.notes:
            messages().print(f"note: {note}", soft_wrap=True)
        console.print(f"{twins_of.pairs} pairs in {out}{skipped}", soft_wrap=True)
        console.print(f"publish {out / prepared.PUBLISHED}; keep {out / prepared.KEPT} and {key}", soft_wrap=True)
