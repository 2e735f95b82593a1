"""`pgherald refresh`: a request to the running daemon, and its answer.

The request is a file in a folder of the state's, which the daemon watches, since no signal means
the same on all systems. The answer is a note in the state.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pgherald.files import Files
from pgherald.store import Store

#: The folder in the state folder; nothing else in it changes, so that watching it costs nothing.
FOLDER: Final = "refresh"

#: Seconds between two readings of the answer.
_PAUSE: Final = 0.2


def request_of(state_dir: Path) -> Path:
    """The file by which the daemon is asked."""
    return state_dir / FOLDER / "asked"


def ask(
    state_dir: Path, files: Files, within: float, pause: Callable[[float], None] = time.sleep
) -> bool:
    """Have the running daemon ask Heroku for everything now, and wait until it has.

    Args:
        state_dir: the state folder.
        files: writes the request.
        within: seconds to wait.
        pause: waits.

    Returns:
        Whether the daemon answered in time.

    Raises:
        FileTrouble: the request cannot be written.
        StoreError: the answer cannot be read.
    """
    number = secrets.token_hex(8)
    path = request_of(state_dir)
    files.private_folder(path.parent)
    files.write_private(path, number.encode())
    for _ in range(round(within / _PAUSE)):
        pause(_PAUSE)
        store = Store.read_only(state_dir / "state.db")
        with contextlib.nullcontext() if store is None else store:
            answered = None if store is None else store.notes().get("refreshed")
        # Somebody may have asked after us: an answer to that is one to us, too.
        latest = files.read(path).content
        if answered == number or (latest and answered == latest.decode("ascii", "replace")):
            return True
    return False
