"""HTTP over real sockets: slow, endless, broken and foreign answers."""

from __future__ import annotations

import asyncio
import gzip
import logging
import ssl
import time
import traceback
import tracemalloc
import zlib
from pathlib import Path

import pytest

from pgherald.clock import SystemClock
from pgherald.errors import HerokuError, NotHeroku, Unavailable
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import Budget
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.http import SIZE_LIMIT, HttpClient
from pgherald.secret import Secret
from pgherald.simulator.tls import make_certificate
from support.heroku_answers import TOKEN, URL, FakeTokens
from support.http_server import Script, answer, bytes_then_close, flood, serve, silence

#: Seconds that a question may take where nothing is slow, and where the limit itself is tested.
LIMIT = 60.0
SHORT = 1.0


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxies the machine has, these tests have none."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def api(url: str, time_limit: float = LIMIT) -> HerokuApi:
    host = HerokuHost.from_env({"HEROKU_HOST": url})
    return HerokuApi(host, FakeTokens(), clock=SystemClock(), time_limit=time_limit)


async def outcome(heroku: HerokuApi) -> HerokuError:
    """The error of one question, which came in time and shows no secret."""
    start = time.monotonic()
    with pytest.raises(HerokuError) as caught:
        await heroku.config_vars("shop", ["DATABASE"])
    await heroku.aclose()
    assert time.monotonic() - start < LIMIT
    assert "CANARY" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    return caught.value


async def test_a_real_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Over a real socket the token arrives, the connection is kept, and the log stays clean."""
    caplog.set_level(logging.DEBUG)
    async with serve(answer(200, f'{{"DATABASE_URL": "{URL}"}}', {"X-Echo": "x"})) as server:
        heroku = api(server.url)
        for _ in range(2):
            seen = await heroku.config_vars("shop", ["DATABASE"])
            assert seen.logins == {"DATABASE": Secret(URL)}
        await heroku.aclose()
        assert server.connections == 1
    assert server.heads[0].startswith("GET /apps/shop/config-vars HTTP/1.1\r\n")
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in server.heads[0]
    assert caplog.records
    assert "CANARY" not in caplog.text


HTML = {"Content-Type": "text/html"}
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        (silence, Unavailable, "does not answer in time"),
        (flood(b" ", pause=0.02), Unavailable, "does not answer in time"),
        (flood(b" " * 1_000_000), NotHeroku, "does not stop sending"),
        (bytes_then_close(b""), Unavailable, "broke off"),
        (bytes_then_close(b"HTTP/1.1 200 OK\r\nConte"), Unavailable, "broke off"),
        (bytes_then_close(JSON + b"Content-Length: 99\r\n\r\n{"), Unavailable, "broke off"),
        (
            bytes_then_close(JSON + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"),
            Unavailable,
            "broke off",
        ),
        (bytes_then_close(b"220 CANARY ESMTP\r\n\r\n"), NotHeroku, "does not speak HTTP"),
        (bytes_then_close(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), NotHeroku, "speak HTTP"),
        (answer(200, "<html>Sign in, CANARY</html>", HTML), NotHeroku, "a page, not data"),
        (answer(200, "<html>Sign in, CANARY</html>"), NotHeroku, "cannot be read"),
        (answer(404, "<h1>Not Found</h1>"), NotHeroku, "status 404"),
        (answer(511, "<html>Sign in</html>", HTML), Unavailable, "(511)"),
    ],
)
async def test_odd_answers(script: Script, kind: type[HerokuError], words: str) -> None:
    """Whatever a server does, the question ends in time, with an error in plain words."""
    async with serve(script) as server:
        problem = await outcome(api(server.url, SHORT if "in time" in words else LIMIT))
    assert type(problem) is kind
    assert words in problem.title


@pytest.mark.parametrize("status", [301, 307])
async def test_no_redirect_is_followed(status: int) -> None:
    """A redirect is an error; the server that it points to is never even connected to."""
    async with (
        serve(answer(200, "{}")) as stranger,
        serve(answer(status, "", {"Location": f"{stranger.url}/apps/shop/config-vars"})) as server,
    ):
        problem = await outcome(api(server.url))
        await asyncio.sleep(0.02)
        assert stranger.connections == 0
        assert len(server.heads) == 1
    assert isinstance(problem, NotHeroku)


@pytest.mark.parametrize(
    "location",
    ["https:CANARY", "https://[CANARY", "\x7f", "https://xn--"],
)
async def test_a_redirect_to_no_address(location: str) -> None:
    """A redirect is one, wherever it leads, and the library's opinion of its address is nobody's."""
    async with serve(answer(302, "", {"Location": location})) as server:
        problem = await outcome(api(server.url))
        assert isinstance(problem, NotHeroku)
        host = HerokuHost.from_env({"HEROKU_HOST": server.url})
        client = HttpClient(host, Budget(SystemClock()), time_limit=LIMIT)
        with pytest.raises(HerokuError):
            async with client.follow(Secret(f"{server.url}/sessions/x")):
                pass
        await client.aclose()


async def test_an_abandoned_question_leaves_no_connection() -> None:
    """A question that is cancelled in the middle hangs up."""
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def script(writer: asyncio.StreamWriter, head: str) -> None:
        asked.set()
        try:
            await flood(b" ", pause=0.01)(writer, head)
        except OSError:
            hung_up.set()
            raise

    async with serve(script) as server:
        heroku = api(server.url)
        task = asyncio.create_task(heroku.account())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(hung_up.wait(), LIMIT)
        await heroku.aclose()


# --- proxies ---------------------------------------------------------------------------


async def test_loopback_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every proxy variable set, a question to this machine goes straight there."""
    async with serve(silence) as proxy, serve(answer(200, '{"email": "e"}')) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        heroku = api(server.url)
        assert await heroku.account() == "e"
        await heroku.aclose()
        assert proxy.connections == 0


# --- TLS -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key, in one file."""
    made = make_certificate(SystemClock().now())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_text(made.key.reveal() + made.pem)
    return path


@pytest.fixture(scope="module")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_nobody_vouches_for(tls: ssl.SSLContext) -> None:
    """An unknown certificate ends it before the request: the token is never sent."""
    async with serve(answer(200, "{}"), tls=tls) as server:
        problem = await outcome(api(server.url.replace("http:", "https:")))
        assert server.heads == []
    assert "the certificate is not trusted" in problem.title
    assert "SSL_CERT_FILE" in problem.advice


async def test_a_certificate_that_the_person_vouches_for(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE is honoured, for this machine too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serve(answer(200, '{"email": "e"}'), tls=tls) as server:
        heroku = api(server.url.replace("http:", "https:"))
        assert await heroku.account() == "e"
        await heroku.aclose()


async def test_no_tls_where_tls_was_expected() -> None:
    """A server that speaks plain HTTP on an https port gets no request."""
    async with serve(silence, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        problem = await outcome(api(server.url.replace("http:", "https:")))
        assert server.heads == []
    assert "no secure connection" in problem.title


# --- packed answers ----------------------------------------------------------------------


def packed(encoding: str, body: bytes) -> Script:
    """An answer that names an encoding, whole."""
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return bytes_then_close(JSON + head.encode() + body)


VARS = f'{{"DATABASE_URL": "{URL}"}}'.encode()


async def test_gzip_is_asked_for_and_read() -> None:
    """A packed answer is read, in whatever pieces it comes and by either of gzip's names."""
    body = gzip.compress(VARS, mtime=0)

    async def drip(writer: asyncio.StreamWriter, head: str) -> None:
        assert "\r\nAccept-Encoding: gzip\r\n" in head
        length = b"Content-Encoding: GZip\r\nContent-Length: %d\r\n\r\n" % len(body)
        for byte in JSON + length + body:
            writer.write(bytes([byte]))
            await writer.drain()

    for script in (drip, packed("x-gzip", body)):
        async with serve(script) as server:
            heroku = api(server.url)
            seen = await heroku.config_vars("shop", ["DATABASE"])
            assert seen.logins == {"DATABASE": Secret(URL)}
            await heroku.aclose()


#: 64 MB as 60 kB; packed twice it is a few hundred bytes.
HUGE = gzip.compress(b"0" * 64_000_000, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("gzip", HUGE, "does not stop sending"),
        ("gzip, gzip", gzip.compress(HUGE, mtime=0), "packs its data"),
        ("gzip\r\nContent-Encoding: gzip", gzip.compress(HUGE, mtime=0), "packs its data"),
        ("deflate", zlib.compress(b"0" * 64_000_000), "packs its data"),
        ("br", b"\x00", "packs its data"),
        ("CANARY", VARS, "packs its data"),
        ("gzip", gzip.compress(VARS, mtime=0)[:-1], "damaged"),
        ("gzip", gzip.compress(VARS, mtime=0) + b"\x00", "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else len(value),
)
async def test_what_is_packed_is_counted_before_it_is_kept(
    encoding: str, body: bytes, words: str
) -> None:
    """However much an answer becomes when it is unpacked, no more than the limit is ever there."""
    async with serve(packed(encoding, body)) as server:
        tracemalloc.start()
        try:
            problem = await outcome(api(server.url))
            assert tracemalloc.get_traced_memory()[1] < 6 * SIZE_LIMIT
        finally:
            tracemalloc.stop()
    assert type(problem) is NotHeroku
    assert words in problem.title


async def test_very_many_headers() -> None:
    """A thousand headers do no harm; a megabyte of them is not HTTP as Heroku speaks it."""
    many = "".join(f"X-{n}: {'x' * 40}\r\n" for n in range(1000))
    end = f"Content-Length: {len(VARS)}\r\n\r\n".encode() + VARS
    async with serve(bytes_then_close(JSON + many.encode() + end)) as server:
        heroku = api(server.url)
        assert (await heroku.config_vars("shop", ["DATABASE"])).logins["DATABASE"] == Secret(URL)
        await heroku.aclose()
    async with serve(bytes_then_close(JSON + many.encode() * 20 + end)) as server:
        assert "does not speak HTTP" in (await outcome(api(server.url))).title


async def test_cookies_do_not_grow() -> None:
    """A server that sets a new cookie with each answer sees none of them, on one connection."""

    async def script(writer: asyncio.StreamWriter, head: str) -> None:
        cookie = {"Set-Cookie": f"c{len(server.heads)}={'x' * 3000}; Path=/"}
        await answer(200, '{"email": "e"}', cookie)(writer, head)

    async with serve(script) as server:
        heroku = api(server.url)
        for _ in range(30):
            assert await heroku.account() == "e"
        await heroku.aclose()
    assert len(server.heads) == 30
    assert len({len(head) for head in server.heads}) == 1
