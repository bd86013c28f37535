from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.components.versions import accepts, find_version, numbers


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("runc version 1.1.5+ds1\ncommit: 1", "1.1.5"),
        ("etcd Version: 3.4.23\n", "3.4.23"),
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", "1.6.20"),
        ("go version go1.26.8 linux/amd64", "1.26.8"),
        ("1:9.18.49-1~deb12u3", "9.18.49"),
        ("no version here", ""),
        ("version 7", ""),
    ],
)
def test_the_first_dotted_number_is_the_version(printed: str, version: str) -> None:
    assert find_version(printed) == version


@pytest.mark.parametrize(
    ("version", "width", "expected"),
    [
        ("1.20.0", 3, (1, 20, 0)),
        ("v1.20", 3, (1, 20, 0)),
        ("1.20.3-rc.1", 3, (1, 20, 3)),
        ("3", 2, (3, 0)),
        ("20.10.24+dfsg1", 2, (20, 10)),
        ("1.2.3.4", 4, (1, 2, 3, 4)),
        ("", 2, (0, 0)),
    ],
)
def test_versions_are_compared_by_their_first_numbers(version: str, width: int, expected: tuple[int, ...]) -> None:
    assert numbers(version, width) == expected


def test_a_version_with_more_digits_is_not_a_smaller_one() -> None:
    assert max("1.9.3", "1.10.0", "v1.10", key=numbers) == "1.10.0"


@pytest.mark.parametrize(
    ("bounds", "version", "verdict"),
    [
        (">=1.6,<3", "1.6.20", True),
        (">=1.6,<3", "1.5.99", False),
        (">=1.6,<3", "3.0.0", False),
        (">=1.6,<3", "2.99", True),
        (">=1.9", "1.10", True),  # numbers, not text
        ("==1.2", "1.2.0", True),
        ("<=3", "3.0.0", True),
        ("<=3", "3.0.1", False),
        ("", "anything", True),
        (">=1", "", False),
    ],
)
def test_ranges_compare_numbers(bounds: str, version: str, *, verdict: bool) -> None:
    assert accepts(bounds, version) is verdict


def test_an_unreadable_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot read the version bound '~1'"):
        accepts("~1", "1.0")


@given(st.lists(st.integers(0, 99), min_size=2, max_size=4), st.lists(st.integers(0, 99), min_size=2, max_size=4))
def test_a_version_is_either_below_or_at_least_a_bound(have: list[int], bound: list[int]) -> None:
    version, limit = ".".join(map(str, have)), ".".join(map(str, bound))
    assert accepts(f">={limit}", version) != accepts(f"<{limit}", version)
