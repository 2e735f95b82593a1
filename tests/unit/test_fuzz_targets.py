"""What `make fuzz` throws at the parsers, in a short form that needs no fuzzer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets import SEEDS, TARGETS

NAMES = sorted(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_are_taken(name: str) -> None:
    """Each parser keeps its promises for what fuzzing begins with, and for what it once found."""
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_whatever_the_bytes(name: str, data: st.DataObject) -> None:
    """Each parser keeps its promises for any bytes, and for a seed with any bytes in its middle."""
    TARGETS[name](data.draw(st.binary(max_size=200)))
    seed = data.draw(st.sampled_from(SEEDS[name]))
    at = data.draw(st.integers(0, len(seed)))
    gone = data.draw(st.integers(0, 8))
    TARGETS[name](seed[:at] + data.draw(st.binary(max_size=8)) + seed[at + gone :])


def test_every_target_has_seeds() -> None:
    """No target is fuzzed from nothing."""
    assert set(SEEDS) == set(TARGETS)
