"""A private session bus, and a notification server on it that notes what it is asked to show.

The bus has no service folder, so nothing that is installed on this machine is ever started
by it: a test that asks for a missing server finds a missing server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusDict, DBusInt32, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_signal

from support.canaries import hear

CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class Bus:
    """A dbus-daemon of our own, restarted at the same address; its folder has a short path."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "bus"
        self._config = folder / "bus.conf"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"unix:path={self.socket}"

    @property
    def environ(self) -> dict[str, str]:
        return {"DBUS_SESSION_BUS_ADDRESS": self.address}

    async def start(self) -> None:
        self._config.write_text(CONFIG.format(socket=self.socket))
        self._process = await asyncio.create_subprocess_exec(
            "dbus-daemon",
            f"--config-file={self._config}",
            "--nofork",
            "--nopidfile",
            "--print-address",
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin"},
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line.startswith(b"unix:"), line

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)


@dataclass
class Shown:
    """One call of `Notify`, as the server received it."""

    app: str
    replaces: int
    icon: str
    title: str
    body: str
    hints: dict[str, Any]
    timeout: int
    number: int
    actions: list[str]


@dataclass
class Behaviour:
    """How the server behaves; a test changes it at will."""

    capabilities: list[str] = field(default_factory=lambda: ["body", "body-markup"])
    server: str = "a test"
    hang: bool = False
    refuse: bool = False


_TwoNumbers = Annotated[list[Any], DBusSignature("uu")]


class _Notifications(ServiceInterface):
    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__("org.freedesktop.Notifications")
        self.behaviour = behaviour
        self.shown: list[Shown] = []

    @dbus_method()
    async def GetCapabilities(self) -> Annotated[list[str], DBusSignature("as")]:
        if self.behaviour.hang:
            await asyncio.sleep(3600)
        return self.behaviour.capabilities

    @dbus_method()
    async def GetServerInformation(self) -> Annotated[list[str], DBusSignature("ssss")]:
        if self.behaviour.hang:
            await asyncio.sleep(3600)
        return [self.behaviour.server, "pgherald", "1", "1.2"]

    @dbus_method()
    def Notify(  # noqa: PLR0917 – the standard's order
        self,
        app: DBusStr,
        replaces: DBusUInt32,
        icon: DBusStr,
        title: DBusStr,
        body: DBusStr,
        actions: Annotated[list[str], DBusSignature("as")],
        hints: DBusDict,
        timeout: DBusInt32,
    ) -> DBusUInt32:
        if self.behaviour.refuse:
            raise ValueError("not today")
        hear("a notice", f"{title} {body} {sorted(hints)}")
        number = replaces or len(self.shown) + 1
        plain = {name: hint.value for name, hint in hints.items()}
        self.shown.append(Shown(app, replaces, icon, title, body, plain, timeout, number, actions))
        return number

    # ruff: noqa: N802 – the standard's names
    @dbus_signal()
    def ActionInvoked(self, number: int, action: str) -> Annotated[list[Any], DBusSignature("us")]:
        return [number, action]

    @dbus_signal()
    def NotificationClosed(self, number: int, why: int) -> _TwoNumbers:
        return [number, why]


class NotificationServer:
    """The far side: what a desktop runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._connection: MessageBus | None = None
        self.behaviour = Behaviour()
        self._interface = _Notifications(self.behaviour)

    @property
    def shown(self) -> list[Shown]:
        return self._interface.shown

    async def start(self, *, named: bool = True) -> None:
        self._connection = await MessageBus(self._bus.address).connect()
        self._connection.export("/org/freedesktop/Notifications", self._interface)
        if named:
            await self._connection.request_name("org.freedesktop.Notifications")

    def press(self, shown: Shown, action: str) -> None:
        """The person presses a button; every server says so, and then that the notice is gone."""
        self._interface.ActionInvoked(shown.number, action)
        self._interface.NotificationClosed(shown.number, 2)

    async def press_everywhere(self, shown: Shown, action: str) -> None:
        """Claim it to everybody on the bus by name, whether or not they listen to us."""
        assert self._connection is not None
        bus = "org.freedesktop.DBus"
        asking = Message(
            destination=bus, path="/org/freedesktop/DBus", interface=bus, member="ListNames"
        )
        names = await self._connection.call(asking)
        assert names is not None
        for name in names.body[0]:
            if name.startswith(":"):
                signal = Message(
                    destination=name, path="/org/freedesktop/Notifications",
                    interface="org.freedesktop.Notifications", member="ActionInvoked",
                    message_type=MessageType.SIGNAL, signature="us", body=[shown.number, action],
                )  # fmt: skip
                await self._connection.send(signal)

    async def stop(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            with contextlib.suppress(EOFError, OSError):
                await self._connection.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast's
            self._connection = None


@contextlib.asynccontextmanager
async def session_bus(folder: Path) -> AsyncIterator[Bus]:
    """A running bus, ended at the end."""
    bus = Bus(folder)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


@contextlib.asynccontextmanager
async def notification_server(bus: Bus) -> AsyncIterator[NotificationServer]:
    """A running notification server on the bus, ended at the end."""
    server = NotificationServer(bus)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
