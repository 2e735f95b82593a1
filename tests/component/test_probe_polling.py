"""The probe on a loop that cannot watch a bare socket, as on Windows."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import NoReturn

import pytest

from pgherald.clock import SystemClock
from pgherald.secret import Secret
from pgherald.simulator.postgres import Cluster
from pgherald.sync.probe import Outcome, PostgresProber
from support.cluster import new_login


def refuse(*_: object) -> NoReturn:
    raise NotImplementedError


async def test_a_loop_without_readers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loop watches no sockets the probe looks at its own, and finds the same."""
    login = await new_login(cluster)
    wrong = dataclasses.replace(login, password=Secret("CANARY-wrong"))
    closed = dataclasses.replace(login, port=1)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_reader", refuse)
    monkeypatch.setattr(loop, "add_writer", refuse)
    prober = PostgresProber(SystemClock())
    proofs = [await prober.probe(each) for each in (login, wrong, closed)]
    assert [proof.outcome for proof in proofs] == [
        Outcome.WORKS,
        Outcome.REFUSED,
        Outcome.UNREACHABLE,
    ]
