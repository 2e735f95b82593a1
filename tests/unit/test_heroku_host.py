"""Where a token may go."""

from __future__ import annotations

import pytest

from pgherald.errors import UnsafeHost
from pgherald.heroku.host import HerokuHost


@pytest.mark.parametrize(
    ("text", "url", "machine"),
    [
        ("", "https://api.heroku.com", "api.heroku.com"),
        ("heroku.com", "https://api.heroku.com", "api.heroku.com"),
        ("staging.HerokuDev.com", "https://api.staging.herokudev.com", "api.staging.herokudev.com"),
        ("https://api.heroku.com", "https://api.heroku.com", "api.heroku.com"),
        ("https://api.heroku.com/", "https://api.heroku.com", "api.heroku.com"),
        ("HTTPS://API.Heroku.com:443", "https://api.heroku.com", "api.heroku.com"),
        ("https://herokai.com", "https://herokai.com", "herokai.com"),
        (
            "https://a.herokuspace.com:8443",
            "https://a.herokuspace.com:8443",
            "a.herokuspace.com:8443",
        ),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("http://127.200.3.4", "http://127.200.3.4", "127.200.3.4"),
        ("http://localhost:5000/", "http://localhost:5000", "localhost:5000"),
        ("https://[::1]:5000", "https://[::1]:5000", "[::1]:5000"),
    ],
)
def test_heroku_host_means_what_it_means_to_the_cli(text: str, url: str, machine: str) -> None:
    """Heroku's own domains over https and this machine are accepted, as URL or bare domain."""
    host = HerokuHost.from_env({"HEROKU_HOST": text})
    assert host.url == url
    assert host.netrc_machine == machine
    assert host.allows(f"{url}/apps?x=1#y")


STRANGERS = [
    "https://api.heroku.com@evil.org", "https://user:CANARY-pw-1@evil.org", "evilheroku.com",
    "https://api.heroku.com.evil.org", "https://evilheroku.com", "http://api.heroku.com",
    "//api.heroku.com", "https://api.heroku.com.", "https://api.heroku.com:",
    "https://api.heroku.com:65536", "https://api.heroku.com:4٤3", "https://api.heroku.com/path",
    "https://api.heroku.com?x", "https://api.heroku.com#x", "https://api.heroku.com\\@evil.org",
    "https://api.heroku.com\n", " https://api.heroku.com", "https://api.hero\u212au.com",
    "hero\u212au.com", "https://heroku\uff0ecom", "https://xn--hroku-1ra.com", "https://.heroku.com",
    "http://2130706433", "http://0x7f.0.0.1", "http://127.1", "http://127.0.0.1.evil.org",
    "http://127.0.0.1:80:80", "http://[::ffff:127.0.0.1]", "http://0.0.0.0:5000", "127.0.0.1:5000",
    "https://", "x" * 500,
]  # fmt: skip


@pytest.mark.parametrize("text", STRANGERS)
def test_strangers_are_refused(text: str) -> None:
    """Whatever is not plainly Heroku or this machine is refused, however it is spelt."""
    with pytest.raises(UnsafeHost) as caught:
        HerokuHost.from_env({"HEROKU_HOST": text})
    assert "CANARY" not in str(caught.value)
    assert caught.value.title.isascii() or "…" in caught.value.title
    assert "\n" not in caught.value.title
    assert len(caught.value.title) < 120


def test_a_refusal_names_the_host() -> None:
    """The title says which host was refused, without the user part."""
    with pytest.raises(UnsafeHost, match=r"HEROKU_HOST names evil\.org"):
        HerokuHost.from_env({"HEROKU_HOST": "https://api.heroku.com@evil.org"})


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.org/apps", "http://api.heroku.com/apps", "https://api.heroku.com:8443/apps",
        "https://api.heroku.com@evil.org/apps", "https://api.heroku.com.evil.org/apps",
        "https://postgres-api.heroku.com/apps", "https://api.heroku.com\\.evil.org/",
        "api.heroku.com", "",
    ],
)  # fmt: skip
def test_only_the_chosen_host_is_allowed(url: str) -> None:
    """A request may carry the token to the configured scheme, host and port and nowhere else."""
    assert not HerokuHost.from_env({}).allows(url)


def test_a_host_made_by_hand_is_checked_as_well() -> None:
    """`allows` does not trust that the host came from `from_env`."""
    assert not HerokuHost("https", "evil.org", 443).allows("https://evil.org/")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", True),
        ("http://127.0.0.1:5000", True),
        ("http://localhost:5000", True),
        ("http://127.0.0.2:5000", False),
        ("http://[::1]:5000", False),
        ("https://api.heroku.com:8443", False),
    ],
)
def test_hosts_that_the_cli_would_replace_by_the_real_heroku(
    text: str, known: bool
) -> None:  # a table's column
    """Hosts that the Heroku CLI takes for invalid are told apart: it would ask the real Heroku."""
    assert HerokuHost.from_env({"HEROKU_HOST": text}).is_known_to_cli is known


def test_only_heroku_itself_is_the_usual_one() -> None:
    """Any host but api.heroku.com needs the CLI's other hosts redirected too."""
    assert HerokuHost.from_env({}).is_default
    assert not HerokuHost.from_env({"HEROKU_HOST": "herokudev.com"}).is_default


@pytest.mark.parametrize(
    ("heroku", "url", "allowed"),
    [
        ("", "https://logs-api.heroku.com/sessions/x?srv=1", True),
        ("", "https://logs.example.org:8443/sessions/x", True),
        ("", "http://logs-api.heroku.com/sessions/x", False),
        ("", "http://127.0.0.1:5000/sessions/x", False),
        ("", "https://localhost/sessions/x", False),
        ("", "ftp://logs-api.heroku.com/x", False),
        ("", "https://me@logs-api.heroku.com/x", False),
        ("", "nothing", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/sessions/x", True),
        ("http://127.0.0.1:5000", "http://localhost:5001/sessions/x", True),
        ("http://127.0.0.1:5000", "https://logs-api.heroku.com/sessions/x", False),
    ],
)
def test_where_a_log_may_be_read(heroku: str, url: str, allowed: bool) -> None:  # a table's column
    """A log comes over https, or from this machine where that is what stands for Heroku."""
    assert HerokuHost.from_env({"HEROKU_HOST": heroku}).allows_log(url) is allowed


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_a_log_comes_from_the_internet(address: str) -> None:
    """A public address may give a log, unless this machine stands for Heroku."""
    assert HerokuHost.from_env({}).allows_log_from(address)
    assert not HerokuHost.from_env({"HEROKU_HOST": "http://localhost:1"}).allows_log_from(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_a_log_comes_from_this_machine_where_that_is_heroku(address: str) -> None:
    """Loopback is allowed where HEROKU_HOST is loopback itself, and nowhere else."""
    assert HerokuHost.from_env({"HEROKU_HOST": "http://localhost:1"}).allows_log_from(address)
    assert not HerokuHost.from_env({}).allows_log_from(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "::",  # noqa: S104 – nothing is bound
        "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1",
        "169.254.169.254", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "5f00::1",
        "4000::1", "224.0.0.1",
        "ff02::1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "2001:db8::1",
        "::ffff:10.0.0.1", "::ffff:0.0.0.0", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2001::1", "::7f00:1", "127.1", "2130706433", "localhost", "", "8.8.8.8:443", "[::1]",
    ],
)  # fmt: skip
def test_a_log_comes_from_no_other_network(address: str) -> None:
    """No network of the machine's own, none that is reserved, nothing that only stands for one."""
    for heroku in ("", "http://127.0.0.1:5000"):
        assert not HerokuHost.from_env({"HEROKU_HOST": heroku}).allows_log_from(address)
