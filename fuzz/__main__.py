"""Fuzz the parsers, and the client with whole answers of Heroku, led by coverage.

`make fuzz` fuzzes all of them, `python fuzz url -max_total_time=60` one. Without a name all
targets are fuzzed, one after the other, for `SECONDS` (20) each. What is found is kept in
`.cache/fuzz`; a finding ends the run with exit code 1 and names its file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / ".cache" / "fuzz"


def fuzz(name: str, options: list[str]) -> None:
    """Fuzz one target in this process; does not return."""
    import atheris  # a development dependency, on Linux alone

    with atheris.instrument_imports(include=["pgherald.clients", "pgherald.heroku",
                                             "pgherald.config", "tomllib"]):  # fmt: skip
        from targets import SEEDS, TARGETS  # imported under instrumentation
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    prefix = f"-artifact_prefix={CORPUS}/{name}-"
    atheris.Setup([sys.argv[0], *options, prefix, str(corpus)], TARGETS[name])
    atheris.Fuzz()


def fuzz_all(seconds: int) -> int:
    """Fuzz every target, each in a process of its own; the exit code."""
    code = 0
    for name in ("pgpass", "service_file", "servers_json", "config", "url", "heroku"):
        argv = [sys.executable, str(Path(__file__).parent), name, f"-max_total_time={seconds}"]
        # libFuzzer ends the process at once, and what it has made stays.
        with tempfile.TemporaryDirectory(prefix="pgherald-fuzz-") as folder:
            place = os.environ | {"TMPDIR": folder}
            ended = subprocess.run(argv, capture_output=True, check=False, env=place)
        said = ended.stderr.decode(errors="replace")
        if ended.returncode:
            print(said[-4000:])
            code = 1
        runs = re.search(r"Done (\d+) runs", said)
        print(f"{name}: {runs[1] if runs else '?'} inputs", flush=True)
    return code


if __name__ == "__main__":
    if len(sys.argv) > 1:
        fuzz(sys.argv[1], sys.argv[2:])
    sys.exit(fuzz_all(int(os.environ.get("SECONDS", "20"))))
