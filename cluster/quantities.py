"""Amounts as people and SLURM write them: bytes ("224G") and durations ("1-00:00:00").

A number without a unit is refused: SLURM takes a bare `--mem` for megabytes and a bare `--time` for minutes, and people
mean bytes and seconds.
"""

import re
from fractions import Fraction

UNITS = ("B", "K", "M", "G", "T", "P", "E")  # each 1024 times the one before, as SLURM counts
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(?:(B)|([KMGTPE])(?:iB)?)", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)-(\d+)(?::(\d+)(?::(\d+))?)?|(?:(\d+):)?(\d+):(\d+))", re.ASCII)
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


def parse_bytes(text: str) -> int:
    """Return bytes from text such as "224G", "1.5T", "512 MiB" or "100B"; units are powers of 1024.

    Raises ValueError, whose text says how to write it.
    """
    found = _BYTES.fullmatch(text.strip())
    if not found:
        raise ValueError(f'write an amount of memory or storage with its unit, as in "4G" or "512M", not "{text}"')
    number, single, unit = found.groups()
    count = Fraction(number) * 1024 ** UNITS.index(single or unit)
    if count.denominator != 1:
        raise ValueError(f'"{text}" is no whole number of bytes')
    return int(count)


def print_bytes(count: int) -> str:
    """Return bytes exactly, in the largest unit that leaves a whole number: "224G", "1536M", "1025B"."""
    if count < 0:
        raise ValueError(f"there are no {count} bytes")
    power = 0
    while count and count % 1024 == 0 and power < len(UNITS) - 1:
        count, power = count // 1024, power + 1
    return f"{count}{UNITS[power]}"


def parse_duration(text: str) -> int:
    """Return seconds from what SLURM takes: "M:S", "H:M:S", "D-H", "D-H:M" or "D-H:M:S".

    Raises ValueError, whose text says how to write it.
    """
    found = _DURATION.fullmatch(text.strip())
    wrong = f'write a time as SLURM does, as in "30:00" (minutes:seconds), "4:00:00" or "1-12:00:00", not "{text}"'
    if not found:
        raise ValueError(wrong)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[:4])
    if found[1] is None:
        hours, minutes, seconds = (int(part or 0) for part in found.groups()[4:])
    if seconds >= 60 or (minutes >= 60 and (found[1] or found[5])) or (hours >= 24 and found[1]):
        raise ValueError(wrong)
    return days * _DAY + hours * _HOUR + minutes * _MINUTE + seconds


def print_duration(seconds: int) -> str:
    """Return seconds as SLURM prints a time limit: "00:10:00", "1-00:00:00"."""
    if seconds < 0:
        raise ValueError(f"no time lasts {seconds} s")
    days, rest = divmod(seconds, _DAY)
    clock = f"{rest // _HOUR:02}:{rest // _MINUTE % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock
