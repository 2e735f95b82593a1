"""No crash writes the process's memory anywhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, os, resource, sys
from pgherald.cli.foreground import forbid_core_dumps
forbid_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE))
if sys.platform == "linux":
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
    print(open("/proc/self/environ").read() != "")
os.abort()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes no core files")
def test_a_crash_leaves_no_core() -> None:
    """A process that forbids core dumps has a limit of 0, is not dumpable, and goes on working."""
    ended = subprocess.run([sys.executable, "-uc", SCRIPT], capture_output=True, check=False)
    assert ended.returncode < 0
    lines = ended.stdout.decode().splitlines()
    assert lines == ["(0, 0)", *(["0", "True"] if sys.platform == "linux" else [])]
