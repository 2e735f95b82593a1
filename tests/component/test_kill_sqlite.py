"""A kill in the middle of SQLite's own work on pgAdmin's database, at every system call of it.

`test_rows.py` kills between statements. Here strace kills the process for real, with SIGKILL, as
it enters the n-th system call on the database, its journal or their folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pgherald.clock import SystemClock
from pgherald.files import Files
from pgherald.sync.transaction import Transactions
from support.disks import moments
from support.foreign_database import make, whole

#: What SQLite changes a database with. Looks are left out: to die before one changes nothing.
CALLS = "openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink,fcntl,close"

#: Commits in a home: a service file and the rows; what it prints says that it came to its end.
SCRIPT = """\
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from pgherald.clock import SystemClock
from pgherald.files import Files
from pgherald.sync.transaction import Transactions, Step
from support.foreign_database import change
home = Path(sys.argv[1])
files = Files(home / "locks")
file = Step("service file", files.read(home / "services"), b"new\\n", private=True)
steps = [file, change(home / "pgadmin4.db", files)]
Transactions(files, home / "commits", SystemClock()).commit(steps, proven=True, note="test")
print("done")
"""

strace = shutil.which("strace")
needs_strace = pytest.mark.skipif(
    strace is None, reason="no strace; on Debian: apt-get install strace"
)


def commit(home: Path, at: int) -> bool:
    """Commit in a child that is killed at that call; whether it came to its end."""
    assert strace is not None
    database = home / "pgadmin4.db"
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [
            *(strace, "-qq", "-o", str(home / "trace"), "-e", f"trace={CALLS}"),
            *("-P", str(database), "-P", f"{database}-journal", "-P", str(home)),
            *("-e", f"inject={CALLS}:signal=KILL:when={at}"),
            *(sys.executable, "-c", SCRIPT, str(home), str(tests), *sys.path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout == "done\n"


@needs_strace
def test_after_a_kill_inside_sqlite_all_is_old_or_all_is_new(tmp_path: Path) -> None:
    """Killed at any system call on the database, it is whole, and agrees with the file again."""
    news: list[bool] = []
    for at in moments(0, 5):
        assert at < 200, "the commit never ends"
        home = tmp_path / str(at)
        home.mkdir()
        (home / "services").write_bytes(b"old\n")
        (home / "services").chmod(0o600)
        old = whole(make(home / "pgadmin4.db"))
        ended = commit(home, at)
        Transactions(Files(home / "locks"), home / "commits", SystemClock()).recover()
        now, file = whole(home / "pgadmin4.db"), (home / "services").read_bytes()
        news.append(file == b"new\n")
        assert (now == old) is (file == b"old\n"), at
        if ended:
            break
    assert at > 20, "hardly any call was seen"
    assert news == sorted(news)
    assert (news[0], news[-1]) == (False, True)
