"""The text of the unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgherald.service.units import namespaces_allowed, quoted, user_unit

COMMITTED = Path(__file__).parents[2] / "systemd" / "pgherald.service"


def directives(unit: str) -> dict[str, str]:
    lines = [line for line in unit.splitlines() if line and line[0] not in "#["]
    return dict(line.split("=", 1) for line in lines)


def test_the_committed_unit_is_current() -> None:
    """The file in the repository is what the generator writes."""
    assert COMMITTED.read_text() == user_unit()


def test_the_default_suits_the_oldest_systemd() -> None:
    """Nothing in the plain unit is newer than systemd 252."""
    unit = directives(user_unit())
    assert unit["Type"] == "notify"
    assert unit["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert "RestartSteps" not in unit


@pytest.mark.parametrize(
    ("systemd", "kind", "steps"),
    [(252, "notify", None), (253, "notify-reload", None), (254, "notify-reload", "6")],
)
def test_a_newer_systemd_gets_what_it_can_do(systemd: int, kind: str, steps: str | None) -> None:
    """Growing pauses and waiting reloads are used where systemd has them."""
    unit = directives(user_unit(systemd=systemd))
    assert (unit["Type"], unit.get("RestartSteps")) == (kind, steps)
    assert ("ExecReload" in unit) == (kind == "notify")


def test_without_a_sandbox_no_namespace_is_needed() -> None:
    """Where user namespaces are forbidden, no line is left that would need one."""
    unit = directives(user_unit(sandbox=False))
    for needs_namespace in (
        "PrivateUsers",
        "ProtectSystem",
        "ReadWritePaths",
        "PrivateTmp",
        "PrivateDevices",
        "CapabilityBoundingSet",
        "ProtectClock",
        "ProtectControlGroups",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
    ):
        assert needs_namespace not in unit
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["WantedBy"] == "default.target"


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
    unit = directives(user_unit(writable=[Path("/srv/pgadmin"), Path("/mnt/my files")]))
    assert unit["ReadWritePaths"] == '%h -/srv/pgadmin "-/mnt/my files"'


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
        ({"kernel/unprivileged_userns_clone": "1\n"}, True),
        ({"kernel/unprivileged_userns_clone": "0\n"}, False),
        ({"user/max_user_namespaces": "0\n"}, False),
        ({"user/max_user_namespaces": "nonsense"}, True),
    ],
)
def test_whether_namespaces_are_allowed(
    settings: dict[str, str],
    allowed: bool,  # noqa: FBT001 – a column of the table
    tmp_path: Path,
) -> None:
    """The kernel's own settings tell; one it does not know forbids nothing."""
    for name, value in settings.items():
        setting = tmp_path / "sys" / name
        setting.parent.mkdir(parents=True)
        setting.write_text(value)
    assert namespaces_allowed(tmp_path) is allowed
