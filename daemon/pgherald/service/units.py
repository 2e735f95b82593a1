"""The systemd user unit, each line with its reason.

The unit is made for the oldest systemd in wide use, 252. What a newer one can do better is
added when the unit is made for that one; an unknown line would be a warning at every load.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: The oldest systemd that the unit is made for (Debian 12).
OLDEST: Final = 252

#: `Type=notify-reload` came with this version of systemd.
NOTIFY_RELOAD: Final = 253

#: `RestartSteps=` came with this version of systemd.
RESTART_STEPS: Final = 254

#: Where pipx and `pip install --user` put the program.
PROGRAM: Final = "%h/.local/bin/pgherald"

HEAD: Final = """\
# pgherald as a service of one user. This file is generated; changes belong in a drop-in:
#     systemctl --user edit pgherald
# To use this file as it is:
#     cp pgherald.service ~/.config/systemd/user/
#     systemctl --user enable --now pgherald
# To keep it running while you are logged out:
#     loginctl enable-linger

[Unit]
Description=Keeps local Postgres clients working when Heroku rotates credentials
Documentation=https://github.com/pgherald/pgherald
# What is broken for a while (a full disk, say) is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
"""

SERVICE: Final = """\
{type}
ExecStart={program} run
# A broken configuration (exit code 2) or a pgherald that runs already (3) is no reason to try
# again.
RestartPreventExitStatus=2 3
Restart=on-failure
{restart}
# The loop shows twice in this time that it still turns; else it is started anew.
WatchdogSec=60
# It ends within two seconds, in the middle of anything; more means that it hangs.
TimeoutStopSec=10
# Only pgherald itself is told to stop: it ends the programs it has started.
KillMode=mixed
# Everything it makes is for this user alone, even before a mode is set.
UMask=0077
"""

TYPE_NOTIFY: Final = """\
# Started means: configuration read, state open, first look at Heroku on its way.
Type=notify
# SIGHUP reads the configuration again.
ExecReload=/bin/kill -HUP $MAINPID"""

TYPE_NOTIFY_RELOAD: Final = """\
# Started means: configuration read, state open, first look at Heroku on its way.
# A reload sends SIGHUP and waits until the configuration has been read again.
Type=notify-reload"""

RESTART_PLAIN: Final = """\
RestartSec=15"""

RESTART_GROWING: Final = """\
# The pause grows from 5 seconds to 5 minutes.
RestartSec=5
RestartSteps=6
RestartMaxDelaySec=300"""

#: Filters on system calls. They need no privilege, so they work in every user manager.
FILTERS: Final = """\

# Hardening that works everywhere
# MemoryDenyWriteExecute= is left out: the Heroku CLI, asked for a token, is JavaScript, whose
# compiler writes the code that it runs.
NoNewPrivileges=yes
# HTTPS and Postgres; Unix sockets for D-Bus and systemd; netlink for the resolver.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# A call outside the set fails with an error instead of killing the process.
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
ProtectHostname=yes
"""

#: Everything that needs a namespace.
SANDBOX: Final = """\

# Hardening that needs user namespaces
# If the service fails with 217/USER or 226/NAMESPACE, this machine does not allow them (Ubuntu
# 23.10 and later, by default): delete this section. `pgherald service` leaves it out there.
# PrivateUsers= comes first: without it a user manager ignores some of the following and
# refuses to start the service because of others.
PrivateUsers=yes
# Nothing may be written but the home folder, where the clients' files are: a new file is moved
# into the old one's place, so the folder itself must be writable. ProtectHome= would hide it,
# and with it the session's D-Bus. Files elsewhere: add their folder to ReadWritePaths=.
ProtectSystem=strict
ReadWritePaths={writable}
PrivateTmp=yes
PrivateDevices=yes
CapabilityBoundingSet=
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
"""

INSTALL: Final = """\

[Install]
WantedBy=default.target
"""


def user_unit(
    program: str = PROGRAM,
    *,
    systemd: int = OLDEST,
    sandbox: bool = True,
    writable: Sequence[Path] = (),
) -> str:
    """The text of `pgherald.service` for a user manager.

    Args:
        program: pgherald in the unit's own notation: `%h` is the home folder. A path comes
            through `quoted`.
        systemd: the version of systemd that it is for; `OLDEST` suits every one.
        sandbox: whether to add what needs user namespaces; see `namespaces_allowed`.
        writable: folders outside the home folder that hold clients' files.
    """
    service = SERVICE.format(
        type=TYPE_NOTIFY_RELOAD if systemd >= NOTIFY_RELOAD else TYPE_NOTIFY,
        program=program,
        restart=RESTART_GROWING if systemd >= RESTART_STEPS else RESTART_PLAIN,
    )
    # "-": a folder that is missing is no reason not to start.
    folders = " ".join(["%h", *(quoted(Path(f"-{folder}")) for folder in writable)])
    namespaced = SANDBOX.format(writable=folders) if sandbox else ""
    return HEAD + service + FILTERS + namespaced + INSTALL


def quoted(path: Path) -> str:
    r"""A path in the unit's notation: blanks, quotes, `\` and `%` are taken literally.

    systemd.syntax(7) "quoting", systemd.unit(5) "specifiers".
    """
    text = str(path).replace("\\", "\\\\").replace("%", "%%")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def namespaces_allowed(proc: Path = Path("/proc")) -> bool:
    """Whether this machine lets an ordinary user make a user namespace.

    Without them a user manager cannot start a unit with `PrivateUsers=` (systemd pull
    request 30914 shows how systemd's own tests find out).

    Args:
        proc: where the kernel shows its settings.
    """
    sys = proc / "sys"
    return (
        _setting(sys / "kernel/apparmor_restrict_unprivileged_userns", otherwise=0) == 0
        and _setting(sys / "kernel/unprivileged_userns_clone", otherwise=1) != 0
        and _setting(sys / "user/max_user_namespaces", otherwise=1) != 0
    )


def _setting(path: Path, *, otherwise: int) -> int:
    """A kernel setting; `otherwise` where the kernel does not know it."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return otherwise
