"""`difgen forecast`: how long may one train, at a size where nothing was trained, before copying sets in?"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli import completion
from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import output, print_json
from difgen_cli.cli.options import GridName, Json, Only, RunsOption, existing, run_directory, settings_of

if TYPE_CHECKING:
    from difgen_cli.report import Study


@command()
def forecast(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="The run directory; more of --at may follow.", metavar="RUNS", show_default=False),
    ] = None,
    runs_: RunsOption = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at", help="Where: a setting that varies.", metavar="KEY=VALUE", autocompletion=completion.numbers
        ),
    ] = None,
    risk: Annotated[float, typer.Option(help="How probable copying may be.", metavar="P")] = 0.05,
    only: Only = None,
    grid: GridName = None,
    json_: Json = False,
) -> None:
    """Say how long one may train before copying sets in.

    From the onsets of copying in finished trainings, at another size, width, batch or learning rate.

    Example: difgen forecast runs/ --at data.size=1024 model.width=128 --risk 0.05
    """
    with errors():
        from difgen_cli.engine.store import Store
        from difgen_cli.report.findings.onset_forecast import of_forecast
        from difgen_cli.report.study import onset_forecast

        folders = [word for word in words or () if "=" not in word]
        place = settings_of([*(at or ()), *(word for word in words or () if "=" in word)], "--at")
        store = Store(existing(_folder(folders, runs_)))
        store.only_read()
        result = onset_forecast.read(_study(store, grid, only), place, risk)
        sentences = of_forecast(result)
        if json_:
            print_json({**asdict(result), "outside": result.outside(), "sentences": sentences})
        else:
            for sentence in sentences:
                output().print(sentence, soft_wrap=True)


def _folder(folders: list[str], option: Path | None) -> Path:
    from difgen_cli.engine.grid.document import GridError

    if len(folders) > 1:
        raise GridError(f"{' '.join(folders)}: name one run directory; a setting of --at is KEY=VALUE")
    return run_directory(Path(folders[0]) if folders else None, option)


def _study(store: Any, grid: str | None, only: list[str] | None) -> Study:
    """The study of a grid, the newest by default, with the cells alone that --only names."""
    from difgen_cli.engine import select
    from difgen_cli.report.study import loading

    lines = select.Lines.read(store, grid)
    (study,) = loading.gather(store, lines.name)
    if not only:
        return study
    chosen = {cell.key for cell in select.find(store, only, lines.name)}
    return replace(study, rows=study.rows[study.rows["cell"].isin(chosen)])
