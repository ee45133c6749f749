"""Who is gone: nobody whose end cannot be known, whatever a machine hides of the processes of others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from difgen_cli.engine.store import processes
from difgen_cli.engine.store.files import publish_json

STRANGERS = 4242, 4243  # users that no machine is likely to have


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "100"])
    yield process
    process.kill()
    process.wait()


def _who(pid: int, started: str | None = "1") -> dict[str, object]:
    return processes.process_identity() | {"pid": pid, "started": started}


def test_an_owner_is_gone_when_its_number_is_free_or_anothers(sleeper: subprocess.Popen[bytes]) -> None:
    assert not processes.is_dead(_who(sleeper.pid, processes.start_time(sleeper.pid)))
    assert processes.is_dead(_who(sleeper.pid, "1")), "another process has its number"
    assert not processes.is_dead(_who(sleeper.pid, None)), "when it began was never known"
    assert not processes.is_dead(processes.process_identity() | {"boot": "of another machine"})
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert processes.is_dead(_who(sleeper.pid, "1")), "it has ended, and nobody has asked how"
    sleeper.wait()
    assert processes.is_dead(_who(sleeper.pid, "1"))
    assert processes.is_dead(_who(2**70, "1")), "no process can have this number"


def test_where_the_system_tells_nothing_the_kernels_answer_counts(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_stat", lambda pid: None)
    assert not processes.is_dead(_who(sleeper.pid))
    monkeypatch.setattr(os, "kill", lambda pid, number: (_ for _ in ()).throw(PermissionError()))
    assert not processes.is_dead(_who(sleeper.pid)), "it lives, and is another user's"
    monkeypatch.undo()
    sleeper.kill()
    sleeper.wait()
    monkeypatch.setattr(processes, "_stat", lambda pid: None)
    assert processes.is_dead(_who(sleeper.pid))


LOOK = """
import encodings.ascii, encodings.idna, os, sys
from pathlib import Path
import numpy, pyarrow.parquet
import difgen_cli.engine.launch.slurm.poll
from difgen_cli.engine import status
from difgen_cli.engine.store import Store
os.setgroups([]); os.setresgid({0}, {0}, {0}); os.setresuid({0}, {0}, {0})
status.reconciler(Store(Path(sys.argv[1]))).poll()
print("looked")
"""


def test_a_colleagues_living_submission_stays_open_on_a_machine_that_hides_processes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if os.geteuid() or not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("only root can mount /proc with hidepid")
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode:
        pytest.skip("/proc cannot be mounted with hidepid here")
    me, other = STRANGERS
    runs = _world_readable(tmp_path, tmp_path_factory.getbasetemp()) / "runs"
    ids = [f"--reuid={other}", f"--regid={other}", "--clear-groups"]
    with subprocess.Popen(["setpriv", *ids, "sleep", "100"]) as launcher:
        folder = runs / "grids" / "g-01234567" / "submissions" / "1"
        who = processes.process_identity() | {"pid": launcher.pid, "started": processes.start_time(launcher.pid)}
        publish_json(folder / "submission.json", {"launcher": "local", "runs": str(runs), "owner": who, "workers": 1})
        publish_json(folder / "launcher.json", {"owner": who})
        (folder.parents[1] / "plan.parquet").touch()
        for path in (runs, *runs.rglob("*")):
            os.chown(path, me, me)
        look = [*hidden, sys.executable, "-c", LOOK.format(me), str(runs)]
        for over in (False, True):
            done = subprocess.run(look, capture_output=True, text=True, check=False)
            assert done.stdout == "looked\n", done.stderr
            assert (folder / "closed.json").exists() == over, "its launcher is " + ("gone" if over else "at work")
            launcher.kill()
            launcher.wait()
    assert json.loads((folder / "closed.json").read_text())["why"] == "its workers are gone"


def _world_readable(folder: Path, base: Path) -> Path:
    """pytest's folders are their maker's alone: those below its base, this one, and two above it."""
    below = [path for path in folder.parents if base in path.parents]
    for path in (folder, *below, base, *base.parents[:2]):
        if path.stat().st_mode & 0o055 != 0o055:
            path.chmod(0o755)
    return folder
