"""The systemd units, each line with its reason: one for a user, one for a server's pgAdmin.

The units are made for the oldest systemd in wide use, 252 (Debian 12), and newer ones take them
as they are: an unknown line would be a warning at every load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

#: Where pipx and `pip install --user` put the program.
PROGRAM: Final = "%h/.local/bin/pgherald"

#: Where `pipx install --global` puts it.
SYSTEM_PROGRAM: Final = "/usr/local/bin/pgherald"

#: The name under which a unit hands over the token; a configuration says `file:heroku-token`.
CREDENTIAL: Final = "heroku-token"

#: What a server's pgAdmin may have its files in: its data, and the home folders of the accounts
#: that the packages for Debian, for Red Hat and the container run it under.
PGADMIN_FOLDERS: Final = ("/var/lib/pgadmin", "/var/www", "/usr/share/httpd", "/home/%i")

USER_HEAD: Final = """\
# pgherald as a service of one user. This file is generated; changes belong in a drop-in:
#     systemctl --user edit pgherald
# `pgherald service install` writes and starts it. By hand:
#     cp pgherald.service ~/.config/systemd/user/
#     systemctl --user enable --now pgherald
# To keep it running while you are logged out:
#     loginctl enable-linger

"""

SYSTEM_HEAD: Final = """\
# pgherald beside a pgAdmin in server mode, under the account that this pgAdmin runs under. This
# file is generated; changes belong in a drop-in:
#     systemctl edit pgherald@www-data
# To use it, for the account www-data:
#     cp pgherald@.service /etc/systemd/system/
#     install -d /etc/pgherald
#     pgherald config example > /etc/pgherald/www-data.toml    # with token = "file:heroku-token"
#     (umask 077; heroku authorizations:create -s read-protected -S > /etc/pgherald/www-data.token)
#     systemctl enable --now pgherald@www-data

"""

UNIT: Final = """\
[Unit]
Description=Keeps local Postgres clients working when Heroku rotates credentials{whose}
Documentation=https://github.com/pgherald/pgherald
{after}# What is broken for a while (a full disk, say) is tried again for as long as it takes. The pause
# below stays the same; pgherald itself adds a longer and longer one, of up to 15 minutes, before
# it begins. It counts its starts in the folder RuntimeDirectory=.
StartLimitIntervalSec=0

[Service]
"""

AFTER_NETWORK: Final = """\
# Names and routes should be there for the first look; one that fails is repeated anyway.
Wants=network-online.target
After=network-online.target
"""

SERVICE: Final = """\
# Started means: configuration read, state open, first look at Heroku on its way.
Type=notify
# SIGHUP reads the configuration again.
ExecReload=/bin/kill -HUP $MAINPID
ExecStart={program} {arguments}run
# A broken configuration (exit code 2) or a pgherald that runs already (3) is no reason to try
# again.
RestartPreventExitStatus=2 3
Restart=on-failure
RestartSec=15
# Its count of starts lies in memory, kept from one automatic start to the next.
RuntimeDirectory={runtime}
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=restart
# Longer than it may rest before it begins.
TimeoutStartSec=20min
# The loop shows twice in this time that it still turns; else it is started anew.
WatchdogSec=60
# It ends within two seconds, in the middle of anything; more means that it hangs.
TimeoutStopSec=10
# Only pgherald itself is told to stop: it ends the programs it has started.
KillMode=mixed
# Everything it makes is for this account alone, even before a mode is set.
UMask=0077
# Its memory holds passwords, and so would a core dump, or the swap.
LimitCORE=0
MemorySwapMax=0
# It needs about 80 MB; the rest is for the programs that it starts, such as the Heroku CLI (up to
# 200 MB) and hooks. Whatever grows beyond is ended, and not the other programs of the machine.
MemoryMax=512M
# If that is a program it started, pgherald itself goes on.
OOMPolicy=continue
"""

ENVIRONMENT: Final = """\
# What your shell had when the service was installed, and a service has not.
{lines}"""

USER_CREDENTIAL: Final = """\
# The token as a credential, for token = "file:{name}": it is read once, at the start.
LoadCredential={name}:{path}
"""

USER_CREDENTIAL_OFF: Final = """\
# The token as a credential, for token = "file:{name}": it is read once, at the start. Without
# it pgherald reads the token's file itself, and notices when that changes.
#LoadCredential={name}:%E/pgherald/{name}
"""

SYSTEM_ACCOUNT: Final = """\
# The name after the "@" is the account: pgAdmin's own, or the clients' files would not be its.
User=%i
# The token, in a file that only root can read: neither pgAdmin nor its users see it. Another
# source of the token: clear this line in a drop-in (LoadCredential=).
LoadCredential={name}:/etc/pgherald/%i.token
# The account may have no home folder, or one that it cannot write.
StateDirectory=pgherald/%i
StateDirectoryMode=0700
Environment=PGHERALD_STATE_DIR=%S/pgherald/%i
"""

#: Filters on system calls. They need no privilege, so they work in every manager.
FILTERS: Final = """\

# Hardening that works everywhere
NoNewPrivileges=yes
# HTTPS and Postgres; Unix sockets for D-Bus and systemd; netlink for the resolver.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# What services call, without what needs root or is about priorities; but a replaced file keeps
# its group, which is a chown. A call outside the set fails with an error instead of killing
# the process.
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=@chown
SystemCallErrorNumber=EPERM
# No 32-bit calls, which the filter would have to know as well.
SystemCallArchitectures=native
# No other personality (an old ABI with weaker protection of memory).
LockPersonality=yes
# It never makes a namespace, never needs the processor at once, never makes a set-uid file.
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# The machine's name is not its business.
ProtectHostname=yes
# Keys that other programs of this account have in the kernel stay theirs.
KeyringMode=private
{memory}"""

MEMORY_OPEN: Final = """\
# MemoryDenyWriteExecute= is left out: the Heroku CLI, asked for a token, is JavaScript, whose
# compiler writes the code that it runs.
"""

MEMORY_CLOSED: Final = """\
# No memory that is written and then run: Python needs none, and the Heroku CLI, which does, is
# not used here.
MemoryDenyWriteExecute=yes
"""

#: What needs a namespace of one's own, in a user's manager.
USER_SANDBOX: Final = """\

# Hardening that needs user namespaces
# If the service fails with 217/USER or 226/NAMESPACE, this machine does not allow them (Ubuntu
# 23.10 and later, by default): delete this section. `pgherald service install` leaves it out
# there.
# PrivateUsers= comes first: without it a user manager ignores some of the following and
# refuses to start the service because of others. It also hides with which variables other
# programs were started, a running pgAdmin among them: `pgherald check` in a shell sees them.
PrivateUsers=yes
# Nothing may be written but the home folder, where the clients' files are: a new file is moved
# into the old one's place, so the folder itself must be writable. ProtectHome= would hide it,
# and with it the session's D-Bus. Files elsewhere: add their folder to ReadWritePaths=.
"""

#: The same in the system's manager, which can do more.
SYSTEM_SANDBOX: Final = """\

# Hardening that only the system's manager can do
# Other accounts' processes, and the kernel's own numbers, are not to be seen.
ProtectProc=invisible
ProcSubset=pid
# What it leaves in shared memory goes with it.
RemoveIPC=yes
# People's homes can be read, for a configuration that leads there, and not written.
ProtectHome=read-only

# Hardening that needs namespaces
# Nothing may be written but its state, pgAdmin's data folder (pgadmin4.db, storage/) and the
# account's home (~/.pg_service.conf), each where it exists: a new file is moved into the old
# one's place, so the folder itself must be writable. Files elsewhere: add their folder.
"""

SANDBOX: Final = """\
ProtectSystem=strict
ReadWritePaths={writable}
# Temporary files and devices of its own, and mounts that nobody outside sees.
PrivateTmp=yes
PrivateMounts=yes
PrivateDevices=yes
# No capability of root's, not even within the namespace.
CapabilityBoundingSet=
# The clock, the kernel's log, modules and settings, and the control groups are not its business.
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
"""

INSTALL: Final = """\

[Install]
WantedBy={target}
"""


def user_unit(
    program: str = PROGRAM,
    *,
    sandbox: bool = True,
    writable: Sequence[Path] = (),
    token: Path | None = None,
    config: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The text of `pgherald.service` for a user manager.

    Args:
        program: pgherald in the unit's own notation: `%h` is the home folder. A path comes
            through `quoted`.
        sandbox: whether to add what needs user namespaces; see `namespaces_allowed`.
        writable: folders outside the home folder that hold clients' files.
        token: a file with the Heroku token, to be handed over as the credential `CREDENTIAL`.
        config: the configuration, where it is not the default one.
        environment: variables to set.
    """
    # "$" would begin a variable here, unlike elsewhere.
    arguments = "" if config is None else f"--config {quoted(config).replace('$', '$$')} "
    settings = [f"Environment={quoted(f'{n}={v}')}\n" for n, v in environment.items()]
    wanted = USER_CREDENTIAL_OFF if token is None else USER_CREDENTIAL
    # This line knows no quotes: the path is its rest, blanks included.
    path = "" if token is None else str(token).replace("%", "%%")
    # "-": a folder that is missing is no reason not to start.
    folders = ["%h", *(quoted(f"-{folder}") for folder in writable)]
    return "".join(
        [
            USER_HEAD,
            UNIT.format(whose="", after=""),
            SERVICE.format(program=program, arguments=arguments, runtime="pgherald"),
            ENVIRONMENT.format(lines="".join(settings)) if settings else "",
            wanted.format(name=CREDENTIAL, path=path),
            FILTERS.format(memory=MEMORY_OPEN),
            USER_SANDBOX + SANDBOX.format(writable=" ".join(folders)) if sandbox else "",
            INSTALL.format(target="default.target"),
        ]
    )


def system_unit(program: str = SYSTEM_PROGRAM) -> str:
    """The text of `pgherald@.service` for the system's manager: `%i` is the account.

    It is for a pgherald beside a pgAdmin in server mode. What `user_unit` does by programs of
    the person's own, such as asking the Heroku CLI, it does not do.

    Args:
        program: pgherald in the unit's own notation.
    """
    folders = " ".join(f"-{folder}" for folder in PGADMIN_FOLDERS)
    return "".join(
        [
            SYSTEM_HEAD,
            UNIT.format(whose=" (%i)", after=AFTER_NETWORK),
            SERVICE.format(
                program=program,
                arguments="--config /etc/pgherald/%i.toml ",
                runtime="pgherald/%i",
            ),
            SYSTEM_ACCOUNT.format(name=CREDENTIAL),
            FILTERS.format(memory=MEMORY_CLOSED),
            SYSTEM_SANDBOX + SANDBOX.format(writable=folders),
            INSTALL.format(target="multi-user.target"),
        ]
    )


def quoted(word: Path | str) -> str:
    r"""A word in the unit's notation: blanks, quotes, `\` and `%` are taken literally.

    systemd.syntax(7) "quoting", systemd.unit(5) "specifiers".
    """
    text = str(word).replace("\\", "\\\\").replace("%", "%%")
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
