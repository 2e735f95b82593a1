"""Make docs/pictures/demo.svg: a real run of the demo, as a terminal shows it.

python tools/picture.py

Needs a system with pseudo-terminals (Linux or macOS), and what `pgherald demo` needs.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURE: Final = ROOT / "docs" / "pictures" / "demo.svg"

#: Columns: the widest line of the demo, and a little.
_WIDTH: Final = 104

#: Fonts that are fetched from the web: a document's picture must not call anybody.
_WEB_FONT: Final = re.compile(r"\s*@font-face\s*\{[^}]*\}")
_FAMILY: Final = re.compile(r"font-family: Fira Code, monospace")
_SYSTEM_FONTS: Final = "font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def demo() -> str:
    """What the demo shows on a terminal, colours included.

    Raises:
        CalledProcessError: a step of the demo failed.
    """
    argv = [sys.executable, "-m", "pgherald", "demo", "--fast"]
    # The picture is the same wherever it is made: without a desktop, the log has the notice.
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "DBUS_SESSION_BUS_ADDRESS")}
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, env=env) as child:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, argv)
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """The next bytes; none when the program has ended, which Linux reports as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def draw(shown: str) -> str:
    """The terminal's text as SVG, in fonts that every machine has."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ make demo\n{shown.rstrip()}"))
    svg = console.export_svg(title="pgherald demo", unique_id="demo")
    # The line feeds that rich leaves in are drawn by some programs as empty boxes.
    svg = re.sub(r"<text [^>]*>\n</text>", "", svg)
    return _FAMILY.sub(_SYSTEM_FONTS, _WEB_FONT.sub("", svg))


def main() -> int:
    """Draw and write."""
    svg = draw(demo())
    if strangers := [word for word in (str(ROOT), str(Path.home()), "url(h") if word in svg]:
        print(f"not written: the picture would hold {', '.join(strangers)}")
        return 1
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")
    print(f"written: {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
