"""Chat services, through the real apprise and a web server that stands for one."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pgherald.errors import MissingTool
from pgherald.notify.chat import TALKATIVE, Chat
from pgherald.notify.desktop import Notice, Urgency
from pgherald.secret import Secret

#: apprise imports it; our own code does not.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

NOTICE = Notice("Heroku rotated Shop", "psql is up to date.")


class Service:
    """A service that takes JSON; notes what it got, refuses or hangs at will."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self.release = threading.Event()
        self.release.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                service.got.append(json.loads(self.rfile.read(length)))
                service.release.wait(30)
                with contextlib.suppress(OSError):  # the client may have given up
                    self.send_response(service.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 – the base class's name
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> Secret:
        return Secret(f"json://127.0.0.1:{self.server.server_port}/CANARY-token-1")


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.release.set()
    running.server.shutdown()
    running.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_every_service_is_notified(service: Service) -> None:
    """A notice reaches each URL with title, text and kind; without a body its title is the text."""
    chat = Chat([service.url, service.url])
    receipt = await chat.show(Notice("t", "b", Urgency.CRITICAL))
    assert (receipt.shown, receipt.backend, receipt.why) == (True, "chat", "")
    assert (await chat.show(Notice("t"))).shown
    assert [(g["title"], g["message"], g["type"]) for g in service.got] == [
        *[("t", "b", "warning")] * 2,
        *[("t", "t", "info")] * 2,
    ]


async def test_a_service_that_fails(
    service: Service, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A refusal, a wrong URL and a dead host are counted; no URL is shown anywhere."""
    caplog.set_level(logging.DEBUG)
    service.status = 500
    urls = [
        service.url,
        Secret("nonsense://CANARY-token-2"),
        Secret("json://127.0.0.1:1/CANARY-token-3"),
        Secret("slack://CANARY-token-4"),
    ]
    receipt = await Chat(urls).show(NOTICE)
    assert (receipt.shown, receipt.why) == (False, "4 of 4 chat services did not take it")
    out, err = capfd.readouterr()
    assert "CANARY" not in caplog.text + out + err


async def test_a_service_that_hangs(service: Service) -> None:
    """A service that never answers costs the time limit, and hides no other."""
    service.release.clear()
    dead = Secret("nonsense://x")
    receipt = await Chat([service.url, dead], limit=0.3).show(NOTICE)
    assert (receipt.shown, receipt.why) == (False, "2 of 2 chat services did not take it")


def test_a_missing_apprise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs without the optional package are an error at the start that says how to get it."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingTool) as caught:
        Chat([Secret("json://CANARY-token-1")])
    assert "pipx install" in caught.value.advice
    assert "CANARY" not in str(caught.value)
