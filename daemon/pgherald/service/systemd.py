"""Linux: a unit of the person's own systemd, and one for a server's pgAdmin.

The text of both is `unit.template`: `%if WORD` begins lines that are there under that condition,
`%end` ends them. It is made for the oldest systemd in wide use, 252 (Debian 12), and newer ones
take it as it is: an unknown line would be a warning at every load.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from pgherald.errors import MissingTool, PgheraldError
from pgherald.service import manager

UNIT: Final = "pgherald.service"

#: Where pipx and `pip install --user` put the program, and where `pipx install --global` does.
PROGRAM: Final = "%h/.local/bin/pgherald"
SYSTEM_PROGRAM: Final = "/usr/local/bin/pgherald"

#: The name under which a unit hands over the token; a configuration says `file:heroku-token`.
CREDENTIAL: Final = "heroku-token"

#: What a server's pgAdmin may have its files in: its data, and the home folders of the accounts
#: that the packages for Debian, for Red Hat and the container run it under.
PGADMIN_FOLDERS: Final = ("/var/lib/pgadmin", "/var/www", "/usr/share/httpd", "/home/%i")

_TEMPLATE: Final = Path(__file__).with_name("unit.template")

#: The program alone.
_PLAIN: Final = manager.Setup(program=())

_NO_MANAGER: Final = (
    "`systemctl --user status` must work: log in as yourself, not by su or sudo. Where "
    "there is no such manager, let another one run `pgherald run`."
)


class Systemd(manager.Manager):
    """The user's service manager.

    Args:
        env: the environment; tells where the units are.
        home: the home folder.
        sandbox: whether the machine allows user namespaces; None to find out.
        account: the numeric user id.
    """

    name = "systemd"

    def __init__(
        self,
        env: Mapping[str, str],
        home: Path,
        *,
        sandbox: bool | None = None,
        account: int | None = None,
    ) -> None:
        config = env.get("XDG_CONFIG_HOME", "")
        folder = Path(config) if config.startswith("/") else home / ".config"
        self.file = folder / "systemd" / "user" / UNIT
        self._sandbox = namespaces_allowed() if sandbox is None else sandbox
        self._account = str(os.getuid() if account is None else account)

    def answers(self, programs: manager.Programs) -> bool:
        """As in `Manager`. Only systemd may be missing."""
        try:
            return programs.run(_VERSION).code == 0
        except PgheraldError:
            return False

    def install(self, setup: manager.Setup) -> list[manager.Step]:
        """As in `Manager`."""
        unit = user_unit(" ".join(map(quoted, setup.program)), setup, sandbox=self._sandbox)
        return [
            # Is there such a manager at all? Asked before anything is written.
            manager.Run(_VERSION, advice=_NO_MANAGER),
            manager.Write(self.file, manager.marked(unit)),
            manager.Run(_ctl("daemon-reload"), advice=_NO_MANAGER),
            manager.Run(_ctl("enable", UNIT), advice=_NO_MANAGER),
            # One that runs already takes over the new unit; one that does not is started.
            manager.Run(_ctl("restart", UNIT), advice=manager.SEE_LOG),
            *([manager.Run(("loginctl", "enable-linger"))] if setup.linger else []),
        ]

    def uninstall(self) -> list[manager.Step]:
        """As in `Manager`. Lingering stays: other services of the person may need it."""
        return [
            manager.Run(_ctl("disable", "--now", UNIT), needed=False),
            manager.Remove(self.file),
            manager.Run(_ctl("daemon-reload"), needed=False),
        ]

    def report(self, programs: manager.Programs) -> manager.Report:
        """As in `Manager`."""
        wanted = "ActiveState,SubState,UnitFileState,StatusText"
        ended = programs.run(_ctl("show", UNIT, f"--property={wanted}"))
        found = dict(line.split("=", 1) for line in ended.out.splitlines() if "=" in line)
        state = ended.err.strip().partition("\n")[0]
        if "ActiveState" in found:
            state = f"{found['ActiveState']} ({found.get('SubState')})"
            if text := found.get("StatusText"):
                state += f": {text}"
        unit = found.get("UnitFileState")
        lingers: bool | None = None
        with contextlib.suppress(MissingTool):
            # Of a user who is neither logged in nor lingers, loginctl knows nothing: exit code 1.
            asked = programs.run(("loginctl", "show-user", self._account, "--property=Linger"))
            lingers = asked.out.strip() == "Linger=yes"
        enabled = None if unit is None else unit.startswith("enabled")
        return manager.Report(self.standing(programs), enabled, state, lingers)

    def logs(self, number: int, *, follow: bool) -> list[str]:
        """As in `Manager`."""
        command = ["journalctl", "--user", f"--unit={UNIT}", f"--lines={number}"]
        return [*command, "--follow"] if follow else [*command, "--no-pager"]


def _ctl(*words: str) -> tuple[str, ...]:
    return ("systemctl", "--user", *words)


#: Answered by any user manager.
_VERSION: Final = _ctl("show", "--property=Version")


def user_unit(
    program: str = PROGRAM, setup: manager.Setup = _PLAIN, *, sandbox: bool = True
) -> str:
    """The text of `pgherald.service` for a user manager.

    Args:
        program: pgherald in the unit's own notation: `%h` is the home folder. A path comes
            through `quoted`.
        setup: everything but the program.
        sandbox: whether to add what needs user namespaces; see `namespaces_allowed`.
    """
    config, variables = setup.config, setup.environment.items()
    return _rendered(
        {
            "user",
            "no-credential" if setup.token is None else "credential",
            *(("sandbox", "user-sandbox") if sandbox else ()),
            *(("environment",) if variables else ()),
        },
        whose="",
        program=program,
        # "$" would begin a variable here, unlike elsewhere.
        arguments="" if config is None else f"--config {quoted(config).replace('$', '$$')} ",
        runtime="pgherald",
        environment="\n".join(f"Environment={quoted(f'{n}={v}')}" for n, v in variables),
        # This line knows no quotes: the path is its rest, blanks included.
        credential=str(setup.token).replace("%", "%%"),
        # "-": a folder that is missing is no reason not to start.
        writable=" ".join(["%h", *(quoted(f"-{folder}") for folder in setup.writable)]),
        target="default.target",
    )


def system_unit(program: str = SYSTEM_PROGRAM) -> str:
    """The text of `pgherald@.service` for the system's manager: `%i` is the account.

    It is for a pgherald beside a pgAdmin in server mode. What `user_unit` does by programs of
    the person's own, such as asking the Heroku CLI, it does not do.

    Args:
        program: pgherald in the unit's own notation.
    """
    return _rendered(
        {"system", "sandbox"},
        whose=" (%i)",
        program=program,
        arguments="--config /etc/pgherald/%i.toml ",
        runtime="pgherald/%i",
        writable=" ".join(f"-{folder}" for folder in PGADMIN_FOLDERS),
        target="multi-user.target",
    )


def _rendered(conditions: Collection[str], **values: str) -> str:
    """The template's lines that fit the conditions, with the values in place."""
    lines, fits = [], True
    for line in _TEMPLATE.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("%"):
            fits = line == "%end\n" or line.split()[1] in conditions
        elif fits:
            lines.append(line.format(**values))
    return "".join(lines)


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
