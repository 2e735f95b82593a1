"""What holds for every test: a home of its own, and never the person's.

Whatever a test starts, in this process or as a child, finds its files below a fresh folder,
no Postgres or Heroku setting of the developer's, and no desktop to talk to.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from platformdirs import user_config_path, user_state_path

from support import canaries, disks

if TYPE_CHECKING:
    from pgherald.simulator.postgres import Cluster

# A busy machine is no failure: no property here is about time.
settings.register_profile(
    "untimed", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")

#: Variables that lead to the person's own things; each test gets its own, or none.
FORGOTTEN = ("PG", "HEROKU_", "NOTIFY_SOCKET", "WATCHDOG_")

#: What says which programs the tests run against, and whether they write down what they measure.
KEPT = ("PGHERALD_POSTGRES_BIN", "PGHERALD_PGADMIN_VENV", "PGHERALD_CHROMIUM", "PGHERALD_RECORD")

#: Where they lead instead, below the test's home.
PLACES = {
    "HOME": ".",
    "USERPROFILE": ".",
    "APPDATA": "AppData/Roaming",
    "LOCALAPPDATA": "AppData/Local",
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_RUNTIME_DIR": ".run",
    "PGPASSFILE": ".pgpass",
    "PGSERVICEFILE": ".pg_service.conf",
    "GIT_CONFIG_GLOBAL": ".gitconfig",
}


#: Leaks that are spelt out.
_SHOWN = 10


#: The process ids of those who run tests for this process, several at a time.
_workers: list[int] = []


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end takes down what it has started, as it does at Ctrl-C.

    That too: in the background of a script it would be ignored, here and by every program that a
    test starts.
    """
    # At Ctrl-C the terminal tells a worker, and then the one for whom it works.
    heard = _end_once if hasattr(config, "workerinput") else signal.default_int_handler
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, heard)
    disks.try_all = config.getoption("--soak")


def _end_once(*_: object) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Note who runs tests for this process."""
    _workers.append(node.gateway._io.popen.pid)


def pytest_keyboard_interrupt() -> None:
    """Let the workers take down what they have started: in a moment they are killed."""
    for pid in _workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak`: a whole month, and all examples, in place of a piece of them."""
    parser.addoption("--soak", action="store_true", help="try whole months, not pieces")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of this test; empty at first, and not within its `tmp_path`."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(KEPT):
            if name.startswith(FORGOTTEN):
                patch.delenv(name)
        for name, place in PLACES.items():
            patch.setenv(name, str(folder / place))
        patch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={folder / '.run' / 'no-bus'}")
        refuse_to_touch_another(folder)
        yield folder


def refuse_to_touch_another(home: Path) -> None:
    """End the whole run if something would still lead to the person's home."""
    places = (Path.home(), user_config_path("pgherald"), user_state_path("pgherald"))
    if strays := [str(place) for place in places if not place.is_relative_to(home)]:
        pytest.exit(f"the tests would touch {', '.join(strays)}", returncode=2)


@pytest.fixture(autouse=True)
def no_canary(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test lets a secret out, whatever it is about; see `support.canaries`."""
    canaries.listen()
    yield
    leaks = canaries.leaks_since()
    if request.node.get_closest_marker("lets_out") is None and leaks:
        pytest.fail("\n".join(["a secret got out:", *leaks]), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def no_canary_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The whole run leaves no secret in a state file, a journal, a lock or a name."""
    yield
    if leaks := canaries.leaks_left(tmp_path_factory.getbasetemp()):
        more = [f"and {len(leaks) - _SHOWN} more"] if len(leaks) > _SHOWN else []
        pytest.fail("\n".join(["a secret was left:", *leaks[:_SHOWN], *more]), pytrace=False)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real Postgres with TLS, shared by the whole run."""
    from pgherald.simulator.postgres import Cluster

    with Cluster.start(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each group of tests that did not run, and why: nothing is skipped in silence."""
    groups: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        where, _, why = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "?")
        name = Path(report.nodeid.partition("::")[0] or where).name
        groups[name, why.removeprefix("Skipped: ")] += 1
    if groups:
        terminalreporter.section("not run on this machine", sep="-")
    for (name, why), count in sorted(groups.items()):
        terminalreporter.write_line(f"{name}: {count} test{'s' * (count != 1)}: {why}")
