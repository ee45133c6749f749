"""`difgen gate`: may these weights be released?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import GridName, Json, existing

Paths = Annotated[
    list[Path],
    typer.Argument(help="A policy (TOML), then the run directory.", metavar="POLICY RUNS", show_default=False),
]
CLOSED = 1


@command()
def gate(
    paths: Paths,
    cell: Annotated[
        list[str] | None, typer.Option(help="Which model: a key, an index, or KEY=VALUE.", metavar="CELL")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The weights that will be released.", metavar="FILE")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Write evidence as JSON.", metavar="FILE")] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Hold evidence against RUNS; POLICY may be left out.", metavar="FILE")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The auditor's key; default: gate.key in your configuration.", metavar="FILE")
    ] = None,
    copy: Annotated[Path | None, typer.Option(help="Write a copy of POLICY, to change it.", metavar="FILE")] = None,
    grid: GridName = None,
    json_: Json = False,
) -> None:
    """Hold a policy against what was measured: pass, fail or insufficient, with every reason.

    Exit code 0: passes. 1: fails, or the evidence is missing, too little, or of other weights. 2: bad input.

    Example: difgen gate policies/open-weights.toml audits --weights model.safetensors --evidence evidence.json
    """
    with errors():
        from difgen_cli import gate as gates
        from difgen_cli.engine.store import Store
        from difgen_cli.gate import show

        if copy is not None:
            _copy(paths, copy)
            return
        *policies, runs = _named(paths, verify)
        store = Store(existing(runs))
        store.only_read()
        if verify is not None:
            verified = gates.check(
                verify, store, next(iter(policies), None), _key(key, runs, make=False), key_is_given=key is not None
            )
            if json_:
                print_json({"holds": not verified.differences, "verdict": verified.document.get("verdict"),
                            "differences": verified.differences, "not_compared": verified.unchecked})  # fmt: skip
            else:
                show.show_verified(verified, output())
            raise typer.Exit(CLOSED if verified.differences else 0)
        content = gates.judge(
            policies[0], store, cell or (), grid, weights, _key(key, runs, make=bool(evidence or json_))
        )
        if evidence is not None:
            _write(evidence, content)
        if json_:
            print_json(content)
        else:
            show.show(content, output())
        raise typer.Exit(0 if content["verdict"] == "pass" else CLOSED)


def _named(paths: list[Path], verify: Path | None) -> list[Path]:
    """The policy and the run directory; to verify, perhaps the latter alone. GridError where one is missing."""
    from difgen_cli.engine.grid.document import GridError

    if len(paths) == 2 or (len(paths) == 1 and verify is not None):
        return paths
    wanted = "RUNS, or POLICY RUNS" if verify is not None else "POLICY RUNS, such as policies/open-weights.toml audits"
    raise GridError(f"{' '.join(map(str, paths))}: name {wanted}")


def _copy(paths: list[Path], to: Path) -> None:
    """A policy under another name. GridError where something is there, or is no policy."""
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.engine.store.files import replace_text
    from difgen_cli.gate import reading

    if len(paths) != 1:
        raise GridError("--copy: name one policy, such as: difgen gate open-weights --copy policy.toml")
    content = reading.file_of(paths[0]).read_text(encoding="utf-8")
    if to.exists():
        raise GridError(f"--copy: {to}: exists; name another file")
    replace_text(to, content)
    output().print(f"{to}: written; commit it before anything is measured", soft_wrap=True)


def _key(key: Path | None, runs: Path, *, make: bool) -> bytes | None:
    """The auditor's key; with `make` it is made where there is none, else None where there is none."""
    from difgen_cli import config
    from difgen_cli import gate as gates

    path = key or config.gate_key()
    if not make and key is None and not path.exists():
        return None
    secret, is_new = gates.read_key(path, runs, make=make)
    if is_new:
        messages().print(f"key: {path} was made; keep it, and hand it to nobody", soft_wrap=True)
    return secret


def _write(file: Path, content: dict[str, Any]) -> None:
    from difgen_cli.engine.store.files import replace_text

    replace_text(file, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    messages().print(f"evidence: {file}", soft_wrap=True)
