"""Where the configuration is read: its file, the environment and the platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgherald.config import paths, places
from pgherald.config.client_tables import ClientTable
from pgherald.config.paths import expand, home


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What paths and limits depend on beside the file's text.

    Attributes:
        file: the configuration file, absolute.
        env: the environment's variables.
        platform: as in `sys.platform`.
    """

    file: Path
    env: Mapping[str, str]
    platform: str

    def path(self, text: str) -> Path:
        """A path as the file writes it: `~` expanded, relative to the file's folder."""
        return self.file.parent / self.expand(text)

    def expand(self, text: str) -> str:
        """The text with a leading `~` expanded, and nothing else."""
        return expand(text, self.env, self.platform)

    def is_credential(self, name: str) -> bool:
        """Whether systemd gave the service a credential of that name."""
        folder = self.env.get("CREDENTIALS_DIRECTORY")
        return bool(folder) and Path(name).name == name and Path(str(folder), name).is_file()

    def state_dir(self, text: str | None) -> Path:
        """The folder of pgherald's own state; the file may say where."""
        return paths.state_dir(text, self.file, self.env, self.platform)

    def client(self, table: ClientTable) -> Path:
        """The file of a client."""
        if table.path is not None:
            return self.path(table.path)
        if self.platform == "win32":
            appdata = self.env.get("APPDATA")
            return (
                Path(appdata) if appdata else home(self.env, self.platform) / "AppData/Roaming"
            ) / table.appdata
        return home(self.env, self.platform) / table.home

    def pgadmin(self, text: str) -> list[Path]:
        """The configuration databases of pgAdmin: the named one, or with `auto` all there are."""
        if text != "auto":
            return [self.path(text)]
        return places.databases(self.env, home(self.env, self.platform), self.platform)

    @property
    def heroku_is_here(self) -> bool:
        """Whether $HEROKU_HOST is on this machine: a simulator, with no allowance to spare."""
        if not (url := self.env.get("HEROKU_HOST")):
            return False
        import ipaddress  # not needed for the real Heroku
        from urllib.parse import urlsplit

        try:
            host = urlsplit(url).hostname or ""
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
