"""`difgen weights`: the weights that feature spaces need, and weights of others as files of difgen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import output
from difgen_cli.cli.options import check_choice

ACTIONS = ("list", "fetch", "verify", "convert")


@command()
def weights(
    action: Annotated[str, typer.Argument(help="list, fetch, verify or convert.", metavar="ACTION")] = "list",
    name: Annotated[
        str | None, typer.Argument(help="The name of the weights; default: all. To convert: a path.", metavar="NAME")
    ] = None,
    out: Annotated[Path | None, typer.Argument(help="To convert: the folder to write to.", metavar="OUT")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to store them; default: $DIFGEN_WEIGHTS.", metavar="FOLDER")
    ] = None,
    choice: Annotated[
        str | None, typer.Option("--weights", help="To convert: ema or raw, where a file has both.", metavar="WHICH")
    ] = None,
    network: Annotated[
        Path | None, typer.Option(help="To convert: JSON that describes the network of a state dict.", metavar="FILE")
    ] = None,
    reading: Annotated[
        list[str] | None,
        typer.Option(help="To convert: how the weights are read, in place of what the files say.", metavar="KEY=VALUE"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="To convert: replace what is in OUT.")] = False,
) -> None:
    """Show, fetch or verify the weights that feature spaces need; or convert weights that somebody else trained.

    Example: difgen weights convert ddpm-cifar10-32 weights/ddpm
    """
    with errors():
        from difgen_cli.engine.grid.document import GridError

        check_choice("weights", action, ACTIONS)
        if action == "convert":
            _convert(name, out, choice, network, reading, force)
            return
        given = {"OUT": out, "--weights": choice, "--network": network, "--reading": reading, "--force": force or None}
        if wrong := next((option for option, value in given.items() if value is not None), None):
            raise GridError(f"weights {action}: {wrong} belongs to convert; leave it out")
        from difgen_cli import config, features

        folders, console = [folder] if folder else config.weights_folders(), output()
        every = [each for each, spec in features.WEIGHTS.items() if spec.files or action == "list"]
        for each in [name] if name else every:
            try:
                console.print(f"{each}: {_result(action, each, folders)}", soft_wrap=True)
            except features.WeightsError as error:
                if action != "list" or name:
                    raise GridError(str(error)) from None
                console.print(f"{each}: {_missing(each)}")


def _convert(
    source: str | None, out: Path | None, choice: str | None, network: Path | None, reading: list[str] | None,
    force: bool,
) -> None:  # fmt: skip
    """Read weights of others as data, write them as difgen's, and say what they are."""
    from difgen_cli.engine.grid.document import GridError

    if source is None or out is None:
        raise GridError("weights convert: name the weights to read and a folder to write: weights convert SOURCE OUT")
    check_choice("--weights", choice, (None, "ema", "raw"))
    from difgen_cli import pretrained

    try:
        model = pretrained.read(Path(source), choice, network, _reading(reading))
        pretrained.write(model, out, replace=force)
    except pretrained.PretrainedError as error:
        raise GridError(str(error)) from None
    described, console = model.described, output()
    read_as = ", ".join(f"{key} {value}" for key, value in described.reading.items() if key != "betas") or "edm"
    numbers = sum(tensor.numel() for tensor in model.weights.values())
    chosen = f" ({model.choice})" if model.choice else ""
    console.print(
        f"{out}: {described.network}, {numbers:,} weights{chosen} of {model.form}, shape {described.shape}, "
        f"{described.classes} classes, read as {read_as}, SHA-256 {model.content}",
        soft_wrap=True,
    )


def _reading(texts: list[str] | None) -> dict[str, Any] | None:
    """The settings of --reading as their types; None where there are none."""
    import json

    from difgen_cli.engine.grid.document import GridError

    settings: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise GridError(f"--reading {text}: write KEY=VALUE, such as prediction=noise")
        try:
            number = json.loads(value)
        except (ValueError, RecursionError):
            number = value
        settings[key] = tuple(number) if isinstance(number, list) else number
    return settings or None


def _result(action: str, name: str, folders: list[Path]) -> str:
    """Where weights lie, fetched or verified; WeightsError where that fails."""
    from difgen_cli import features

    if action == "fetch":
        return str(features.fetch(name, folders[0]))
    path = features.find(name, folders)
    own = not features.proved(path, name)
    if action == "verify":
        sha256 = features.verify(path, name).sha256
        return f"{path}, a file of your own, SHA-256 {sha256}" if own else f"{path} verified"
    return f"{path}, a file of your own" if own else str(path)


def _missing(name: str) -> str:
    """What weights are that are not on this machine."""
    from difgen_cli import features

    spec = features.WEIGHTS[name]
    if not spec.files:
        return f"not on this machine; {spec.licence}; {spec.purpose}; a file of {spec.url} as {' or '.join(spec.own)}"
    own = f"; a file of your own may be called {' or '.join(spec.own)}" if spec.own else ""
    return f"not on this machine; {spec.size_bytes:,} bytes, SHA-256 {spec.sha256}, {spec.licence}; {spec.purpose}{own}"
