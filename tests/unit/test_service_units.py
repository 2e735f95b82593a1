"""The text of the unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgherald.service.manager import Setup
from pgherald.service.systemd import (
    PGADMIN_FOLDERS,
    namespaces_allowed,
    quoted,
    system_unit,
    user_unit,
)

COMMITTED = Path(__file__).parents[2] / "systemd"


def directives(unit: str) -> dict[str, str]:
    lines = [line for line in unit.splitlines() if line and line[0] not in "#["]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", [user_unit(), system_unit()], ids=["user", "system"])
def test_systemd_never_gives_up(unit: str) -> None:
    """It starts pgherald again for ever; the pauses grow by what pgherald keeps between starts."""
    found = directives(unit)
    assert found["RuntimeDirectoryPreserve"] == "restart"
    assert "StartLimitBurst" not in found
    assert "StartLimitIntervalSec=0\n" in unit
    # Systemd 252, the oldest one in wide use, does not know it.
    assert "RestartSteps" not in found


def test_without_a_sandbox_no_namespace_is_needed() -> None:
    """Where user namespaces are forbidden, no line is left that would need one."""
    unit = directives(user_unit(sandbox=False))
    namespaces = {"PrivateUsers", "ReadWritePaths", "CapabilityBoundingSet"}
    assert not namespaces & set(unit)
    assert not [
        name
        for name in unit
        if name.startswith(("Private", "Protect")) and name != "ProtectHostname"
    ]
    assert unit["NoNewPrivileges"] == "yes"
    assert namespaces <= set(directives(user_unit()))


def test_everything_the_daemon_needs_stays_possible() -> None:
    """The home folder is writable, D-Bus reachable, and the Heroku CLI's compiler may work."""
    unit = directives(user_unit())
    assert unit["ReadWritePaths"] == "%h"
    assert "ProtectHome" not in unit
    assert "AF_UNIX" in unit["RestrictAddressFamilies"]
    assert "MemoryDenyWriteExecute" not in unit
    assert "PrivateNetwork" not in unit


def test_folders_outside_home_can_be_added() -> None:
    """Clients' files elsewhere stay writable, and a missing folder does not stop the start."""
    unit = directives(
        user_unit(setup=Setup((), writable=(Path("/srv/pgadmin"), Path("/mnt/my files"))))
    )
    assert unit["ReadWritePaths"] == '%h -/srv/pgadmin "-/mnt/my files"'


def test_the_system_unit_runs_as_pgadmins_account() -> None:
    """It is pgAdmin's own account that writes, in pgAdmin's folders and its own state alone."""
    unit = directives(system_unit())
    assert unit["User"] == "%i"
    assert unit["ReadWritePaths"] == " ".join(f"-{folder}" for folder in PGADMIN_FOLDERS)
    assert "/var/lib/pgadmin" in PGADMIN_FOLDERS
    assert unit["Environment"] == "PGHERALD_STATE_DIR=%S/pgherald/%i"
    assert unit["StateDirectory"] == "pgherald/%i"
    assert unit["LoadCredential"] == "heroku-token:/etc/pgherald/%i.token"
    assert unit["ProtectHome"] == "read-only"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/usr/bin/pgherald", "/usr/bin/pgherald"),
        ("/home/a b/pgherald", '"/home/a b/pgherald"'),
        ("/opt/100%/pgherald", "/opt/100%%/pgherald"),
        ('/opt/"x"\\y', '"/opt/\\"x\\"\\\\y"'),
    ],
)
def test_paths_are_taken_literally(path: str, text: str) -> None:
    """Nothing in a path is taken for systemd's own notation."""
    assert quoted(Path(path)) == text


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, True),
        ({"kernel/apparmor_restrict_unprivileged_userns": "0\n"}, True),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1\n"}, False),
        ({"kernel/unprivileged_userns_clone": "0\n"}, False),
        ({"user/max_user_namespaces": "0\n"}, False),
        ({"user/max_user_namespaces": "nonsense"}, True),
    ],
)
def test_whether_namespaces_are_allowed(
    settings: dict[str, str],
    allowed: bool,  # a column of the table
    tmp_path: Path,
) -> None:
    """The kernel's own settings tell; one it does not know forbids nothing."""
    for name, value in settings.items():
        setting = tmp_path / "sys" / name
        setting.parent.mkdir(parents=True)
        setting.write_text(value)
    assert namespaces_allowed(tmp_path) is allowed
