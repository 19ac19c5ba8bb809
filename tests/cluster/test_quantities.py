"""Bytes and durations are read and written as SLURM does, and never guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terp.cluster.quantities import parse_bytes, parse_duration, print_bytes, print_duration


@given(st.integers(0, 1 << 72))
def test_bytes_are_read_as_they_were_printed(count: int) -> None:
    assert parse_bytes(print_bytes(count)) == count


@given(st.integers(0, 400 * 86_400))
def test_a_duration_is_read_as_it_was_printed(seconds: int) -> None:
    assert parse_duration(print_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10:00", 600),
        ("90:30", 5430),
        ("4:00:00", 14_400),
        ("1-0", 86_400),
        ("1-12:30", 131_400),
        ("5-00:00:00", 432_000),
    ],
)
def test_a_duration_means_what_slurm_takes_it_for(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"), [("224G", 224 << 30), ("1.5T", 1536 << 30), ("512 MiB", 512 << 20), ("32000M", 32_000 << 20)]
)
def test_bytes_are_counted_as_slurm_counts_them(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "10", "1:2:3:4", "1-24:00", "1:60:00", "1:00:60", "-1:00", "1h", "\u0661:00", "inf"]
)
def test_no_duration_is_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="write a time as SLURM does"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "4", "4GB", "G", "-1G", "1e3G", "4 Q", "\u0664G"])
def test_no_unit_is_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        parse_bytes(text)
