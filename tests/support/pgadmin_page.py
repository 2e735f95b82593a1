"""A person's browser with the real pgAdmin in it: headless Chromium, 1280 by 800.

    async with PgAdminPage.open(pgadmin) as page:
        await page.open_server("Heroku", "Shop")       # expands the group, opens the server
        tool = await page.open_query_tool("database-1")
        (await tool.run("SELECT 1")).rows              # [["1"]]
        ran = await tool.run()                         # ran.dialog: "Connection Warning ..."
        ran = await tool.press_continue()
        await page.picture(path)                       # of that moment

The browser is the machine's own (Debian: `apt-get install chromium`); nothing is downloaded.
Places on the page are found by what pgAdmin 9 calls them in its own markup.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from playwright.async_api import FrameLocator, Locator, Page, Request, async_playwright
from playwright.async_api import TimeoutError as TooLate

from support.pgadmin_run import LOGIN_PASSWORD, Mode, RunningPgAdmin

#: Milliseconds that anything on the page may take.
LIMIT: Final = 20_000

#: Seconds without a request after which the page is taken to be whole.
QUIET: Final = 0.4

SIZE: Final = {"width": 1280, "height": 800}

#: Root may not use the sandbox; the rest keeps the browser from talking to its maker.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

#: Requests that nothing on the page waits for, and whose end the browser does not tell.
ENDLESS: Final = ("/socket.io/", "/settings/save_")

#: A note that says how a query went, and goes away after some seconds.
NOTE: Final = ".notistack-Snackbar"

#: How often a note is told to go before that is a failure.
PRESSES: Final = 5

#: What turns while something loads, and hints to what is below the mouse.
PASSING: Final = ".MuiCircularProgress-root:visible, [role=tooltip]:visible"


class NoBrowser(Exception):
    """There is no Chromium here; says in one line how to get it."""


def chromium() -> Path:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Path(found)
    raise NoBrowser("pgAdmin's window needs Chromium; on Debian: apt-get install chromium")


@dataclass
class PgAdminPage:
    """pgAdmin's window."""

    page: Page
    _asked: set[Request] = field(default_factory=set)
    _last_answer: float = 0.0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, pgadmin: RunningPgAdmin, user: str = "", password: str = LOGIN_PASSWORD
    ) -> AsyncIterator[Self]:
        """The window for as long as the block lasts, with the tree's groups in it."""
        program = chromium()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=[*FLAGS])
            try:
                # A context of its own is a browser that was never used.
                context = await browser.new_context(viewport=SIZE, device_scale_factor=1)  # type: ignore[arg-type]  # a plain dict is one
                context.set_default_timeout(LIMIT)
                window = cls(await context.new_page())
                window.page.on("request", window._ask)
                window.page.on("requestfinished", window._answer)
                window.page.on("requestfailed", window._answer)
                await window._enter(pgadmin, user, password)
                yield window
            finally:
                await browser.close()

    async def _enter(self, pgadmin: RunningPgAdmin, user: str, password: str) -> None:
        await self.page.goto(pgadmin.door)
        if pgadmin.mode is Mode.SERVER:
            await self.page.locator("input[name=email]").fill(user)
            await self.page.locator("input[name=password]").fill(password)
            await self.page.locator("button[name=internal_button]").click()
        await self.page.locator(".file-entry").first.wait_for()
        # The tree restores what was open the last time, and only then stays where it is.
        await self._settled()

    async def _settled(self) -> None:
        """Wait until every answer is there, and pgAdmin asks for nothing for a moment.

        Its pages ask for something every other second, so playwright's "networkidle" takes long,
        and on a busy machine even that moment may not come.
        """
        deadline = time.monotonic() + LIMIT / 1000
        while time.monotonic() < deadline:
            if not self._asked and time.monotonic() - self._last_answer > QUIET:
                return
            await asyncio.sleep(QUIET / 10)
        if self._asked:
            raise TimeoutError(f"pgAdmin waits for {[request.url for request in self._asked]}")

    def _ask(self, request: Request) -> None:
        if not any(part in request.url for part in ENDLESS):
            self._asked.add(request)

    def _answer(self, request: Request) -> None:
        self._asked.discard(request)
        self._last_answer = time.monotonic()

    # The tree

    def node(self, name: str) -> Locator:
        """A line of the tree, by the name it shows."""
        exact = self.page.locator(".file-name", has_text=re.compile(rf"^{re.escape(name)}$"))
        return self.page.locator(".file-entry", has=exact).first

    async def expand(self, name: str) -> None:
        """Open a line of the tree, unless it is open. A dialog may come up instead."""
        toggle = self.node(name).locator(".directory-toggle")
        await toggle.wait_for()
        async with asyncio.timeout(LIMIT / 1000):
            while not await self._is_open(name) and not await self.dialog():
                await toggle.click()
                await self._becomes_open(name, 2)

    async def open_server(self, group: str, name: str) -> None:
        """Expand a group and double-click a server in it. A dialog may come up instead."""
        await self.expand(group)
        await self.node(name).dblclick()
        # It opens by itself once it is connected; a click in that moment would close it again.
        await self._becomes_open(name, 10)
        await self.expand(name)

    async def _is_open(self, name: str) -> bool:
        """Whether a line has lines below it; pgAdmin writes its depth on each."""
        read = (
            "nodes => nodes.map(node =>"
            " [node.querySelector('.file-name').innerText, Number(node.dataset.depth)])"
        )
        shown = await self.page.locator(".file-entry").evaluate_all(read)
        for (text, depth), (_, next_depth) in itertools.pairwise(shown):
            if text == name:
                return bool(next_depth > depth)
        return False

    async def _becomes_open(self, name: str, seconds: float) -> None:
        """Wait so long for a line to open, or for a dialog; neither may come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if await self._is_open(name) or await self.dialog():
                break
            await asyncio.sleep(0.1)

    async def refresh(self, name: str) -> None:
        """Right-click a line of the tree and choose Refresh."""
        await self.node(name).click(button="right")
        await self.page.get_by_role("menuitem", name="Refresh").first.click()
        await self._settled()

    async def lines(self) -> list[str]:
        """All names that the tree shows."""
        return await self.page.locator(".file-name").all_inner_texts()

    # Tools

    async def open_query_tool(self, database: str) -> QueryToolPage:
        """Open a query tool on a database of the server that is open in the tree."""
        await self.expand("Databases")
        await self.node(database).click()
        before = await self.page.locator("iframe").count()
        await self.page.locator("button[data-label='Query Tool']:enabled").first.click()
        frame = self.page.locator("iframe").nth(before)
        await frame.wait_for()
        tool = QueryToolPage(self, frame.content_frame)
        # Before it is connected it takes no letters.
        await tool.editor.wait_for()
        return tool

    # Dialogs, which stand in the window or in one of its tools

    async def _dialogs(self) -> list[Locator]:
        """All that are open, the topmost one last."""
        found = []
        for frame in self.page.frames:
            found += await frame.locator("[role=dialog]:visible").all()
        return found

    async def dialog(self) -> str:
        """What the open dialog says, its title first; empty when there is none."""
        dialogs = await self._dialogs()
        return await dialogs[-1].inner_text() if dialogs else ""

    async def press(self, label: str) -> None:
        """Press a button of the open dialog, and wait until the dialog is gone."""
        dialogs = await self._dialogs()
        assert dialogs, f"no dialog with {label}"
        await dialogs[-1].locator(f"button[data-label='{label}']").click()
        await dialogs[-1].wait_for(state="hidden")

    # Pictures

    async def _mouse_away(self) -> None:
        """Over the menu's bar, where nothing has a hint."""
        await self.page.mouse.move(SIZE["width"] // 2, 15)

    async def picture(self, path: Path) -> None:
        """Take a picture of the window as it stands: nothing half loaded, no hint, no mouse."""
        await self._mouse_away()
        await self._settled()
        note = self.page.locator(NOTE).first
        for _ in range(PRESSES):
            if not await note.is_visible():
                break
            # It may go away by itself just now; or still be on its way, so that the press misses.
            with contextlib.suppress(TooLate):
                await note.locator("button").last.click(timeout=1000)
                await self._mouse_away()  # a note below the mouse stays
                await note.wait_for(state="hidden", timeout=3000)
        await note.wait_for(state="hidden")
        # Behind a dialog, something may turn until the dialog is answered.
        if not await self.dialog():
            for frame in self.page.frames:
                for passing in await frame.locator(PASSING).all():
                    await passing.wait_for(state="hidden")
        await self.page.screenshot(path=path, animations="disabled", caret="hide")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a query tool shows after a run."""

    rows: list[list[str]]
    message: str
    dialog: str


@dataclass
class QueryToolPage:
    """A query tool's tab."""

    window: PgAdminPage
    frame: FrameLocator

    @property
    def editor(self) -> Locator:
        """Where SQL is typed, once it may be typed."""
        return self.frame.locator(".cm-content:not([aria-readonly=true])").first

    async def type(self, sql: str) -> None:
        """Put SQL in place of what the editor holds."""
        await self.editor.click()
        await self.editor.press("Control+a")
        await self.editor.press("Delete")
        await self.window.page.keyboard.insert_text(sql)

    async def run(self, sql: str | None = None) -> Ran:
        """Run what the editor holds, or another query."""
        if sql is not None:
            await self.type(sql)
        return await self._ran(lambda: self.editor.press("F5"))

    async def press_continue(self) -> Ran:
        """Answer the dialog about a lost connection with Continue; the query runs again."""
        return await self._ran(lambda: self.window.press("Continue"))

    async def _ran(self, start: Callable[[], Awaitable[None]]) -> Ran:
        """Do what makes a query run, and wait until the tool is done with it.

        It writes each run into its history, also one that ended with a dialog.
        """
        page = self.window.page
        async with page.expect_response(
            lambda said: "/sqleditor/query_history/" in said.url
        ) as end:
            await start()
        said: dict[str, Any] = (await end.value).request.post_data_json or {}
        rows: list[list[str]] = []
        if said["status"]:
            await self.frame.get_by_text("Query complete").wait_for()
            shown = await self.frame.locator("[role=row]:has([role=gridcell])").all()
            # The first cell is the row's number.
            rows = [(await row.locator("[role=gridcell]").all_inner_texts())[1:] for row in shown]
        elif said["message"].startswith("Connection to the server has been lost"):
            await self.frame.locator("[role=dialog]:visible").first.wait_for()
        return Ran(rows, said["message"], await self.window.dialog())
