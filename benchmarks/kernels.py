"""What the rows compute, as functions of NumPy arrays: each once as one would write it, and once made for speed.

The fast ones release the GIL and go through main memory as rarely as they can: all cores share one bus. NaN is not
expected in what they are given.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import njit

Values = np.ndarray[Any, Any]

AVERAGE = 8  # times, and channels, that become one
LIMIT = 5.0  # standard deviations beyond which an amplitude is flagged
MAD_TO_DEVIATION = 1.4826  # for normally distributed values
CHANNELS = 128  # of a baseline that are flagged at a time
LARGEST = np.int32(2**31 - 1)
WINDOW = 31  # days of the rolling mean


def flag_average_plain(values: Values) -> Values:
    """Average visibilities (time, channel, pol) 8x8 in time and channel, without what is far from its median in time.

    An amplitude is flagged if it is more than 5 deviations (1.4826 MAD) from the median over time; a cell of which
    all is flagged is 0. complex64.
    """
    amplitudes = np.abs(values)
    median = np.median(amplitudes, axis=0)
    deviations = np.abs(amplitudes - median)
    good = deviations <= np.float32(LIMIT * MAD_TO_DEVIATION) * np.median(deviations, axis=0)
    times, channels, pols = values.shape
    cells = (times // AVERAGE, AVERAGE, channels // AVERAGE, AVERAGE, pols)
    total = np.where(good, values, 0).reshape(cells).sum(axis=(1, 3))
    count = good.reshape(cells).sum(axis=(1, 3))
    return np.asarray(total / np.maximum(count, 1), "c8")


@dataclass(frozen=True)
class Scratch:
    """Memory for `flag_average`, to be used again by one thread."""

    amplitudes: Values  # (series, time)
    distances: Values  # (time)
    bounds: Values  # (2, series): the squares between which the square of an amplitude is good
    sums: Values  # (3, series): real, imaginary, count

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Scratch":
        times, series = shape[0], int(np.prod(shape[1:]))
        sizes = (series, times), (times,), (2, series), (3, series)
        return cls(*(np.empty(size, "f4") for size in sizes))


def flag_average(values: Values, out: Values | None = None, scratch: Scratch | None = None) -> Values:
    """Return what `flag_average_plain` does, about ten times as fast; `values` is contiguous."""
    times, channels, pols = values.shape
    scratch = scratch or Scratch.of(values.shape)
    if out is None:
        out = np.empty((times // AVERAGE, channels // AVERAGE, pols), "c8")
    series = values.reshape(times, -1)
    _amplitudes_by_series(series, scratch.amplitudes)
    _find_bounds(scratch.amplitudes, scratch.distances, scratch.bounds)
    _average(series.view("f4"), *scratch.bounds, scratch.sums, out)
    return out


def flag_average_block(block: Values) -> Values:
    """Do as `flag_average` does for each baseline of (time, baseline, channel, pol), whose channels go in parts.

    A part is in 2 MiB that stay in the cache for both of its passes: copied there, unless it is all that there is.
    """
    times, baselines, channels, pols = block.shape
    step = math.gcd(channels, CHANNELS)
    made = np.empty((times // AVERAGE, baselines, channels // AVERAGE, pols), "c8")
    copy = np.empty((times, step, pols), "c8")
    scratch = Scratch.of(copy.shape)
    for number, first in itertools.product(range(baselines), range(0, channels, step)):
        part = block[:, number, first : first + step]
        if not part.flags.c_contiguous:
            copy[...] = part
            part = copy
        flag_average(part, made[:, number, first // AVERAGE : (first + step) // AVERAGE], scratch)
    return made


@njit(nogil=True, fastmath=True, cache=True)
def _amplitudes_by_series(values, out):  # type: ignore[no-untyped-def]
    """|values| (time, series) as (series, time), in blocks that fit the L1 cache."""
    series, times = out.shape
    for left in range(0, series, 16):
        for start in range(0, times, 16):
            for one in range(left, min(series, left + 16)):
                for time in range(start, min(times, start + 16)):
                    value = values[time, one]
                    out[one, time] = np.sqrt(value.real * value.real + value.imag * value.imag)


@njit(nogil=True, fastmath=True, cache=True)
def _find_bounds(amplitudes, distances, bounds):  # type: ignore[no-untyped-def]
    for one in range(amplitudes.shape[0]):
        row = amplitudes[one]
        median = _median(row)
        for time in range(row.size):
            distances[time] = abs(row[time] - median)
        reach = _median(distances) * np.float32(LIMIT * MAD_TO_DEVIATION)
        bounds[0, one] = max(median - reach, np.float32(0)) ** 2
        bounds[1, one] = (median + reach) ** 2


@njit(nogil=True, fastmath=True, cache=True)
def _median(row):  # type: ignore[no-untyped-def]
    """Return the median of a short row of floats that are not negative.

    To count through a row in the L1 cache some ten times takes a fraction of the time in which it is sorted. The bits
    of such floats, read as integers, have the order of the floats: halving between the least and the largest finds it.
    """
    bits, half = row.view(np.int32), (row.size + 1) // 2
    least, bound = bits[0], bits[0]
    for time in range(bits.size):
        least, bound = min(least, bits[time]), max(bound, bits[time])
    below, there = least - 1, np.float32(row.size)
    while there != half and bound - below > 1:
        middle = np.int32((below + bound) // 2)
        count = _count_to(bits, middle)
        if count < half:
            below = middle
        else:
            bound, there = middle, count
    lower, upper = np.int32(0), LARGEST
    for time in range(bits.size):
        lower = max(lower, bits[time] if bits[time] <= bound else np.int32(0))
        upper = min(upper, bits[time] if bits[time] > bound else LARGEST)
    middles = np.array([lower, upper]).view(np.float32)
    return middles[0] if row.size % 2 or there > half else (middles[0] + middles[1]) * np.float32(0.5)


@njit(nogil=True, fastmath=True, cache=True)
def _count_to(bits, bound):  # type: ignore[no-untyped-def]
    count = np.float32(0)  # in lanes of the width of the others
    for time in range(bits.size):  # by number: an iterator is not made into lanes
        count += np.float32(1) if bits[time] <= bound else np.float32(0)
    return count


@njit(nogil=True, fastmath=True, cache=True)
def _average(values, low, high, sums, out):  # type: ignore[no-untyped-def]
    """Average good values; (time, 2 series) with real and imaginary parts in turn -> (time / 8, channel / 8, pol)."""
    real, imaginary, count = sums
    steps, cells, pols = out.shape
    for step in range(steps):
        sums[:] = 0
        for time in range(step * AVERAGE, (step + 1) * AVERAGE):
            for one in range(low.shape[0]):
                x, y = values[time, 2 * one], values[time, 2 * one + 1]
                square = x * x + y * y
                good = np.float32(1) if (square >= low[one]) & (square <= high[one]) else np.float32(0)
                real[one] += x * good
                imaginary[one] += y * good
                count[one] += good
        for cell in range(cells):
            for pol in range(pols):
                x = y = number = np.float32(0)
                for channel in range(cell * AVERAGE, (cell + 1) * AVERAGE):
                    one = channel * pols + pol
                    x, y, number = x + real[one], y + imaginary[one], number + count[one]
                number = max(number, np.float32(1))
                out[step, cell, pol] = complex(x / number, y / number)


def smooth_anomaly_plain(values: Any) -> Any:
    """Return the centred rolling mean over 31 days of how far each value is from the mean of its day of the year.

    A DataArray with dates along `time`; NaN where the window is not full.
    """
    days = values.groupby("time.dayofyear")
    return (days - days.mean("time")).rolling(time=WINDOW, center=True).mean()


def smooth_anomaly(values: Values, slots: Values) -> None:
    """Do as `smooth_anomaly_plain` does, in place: (time, cells) float32; `slots`: the day of the year, from 0."""
    count = np.bincount(slots)
    usual = np.zeros((count.size, values.shape[1]), "f4")
    _means_by_slot(values, slots, count, usual)
    _roll(values, slots, usual, np.zeros((WINDOW, values.shape[1]), "f4"))
    values[: WINDOW // 2] = np.nan
    values[max(values.shape[0] - WINDOW // 2, 0) :] = np.nan


@njit(nogil=True, fastmath=True, cache=True)
def _means_by_slot(values, slots, count, usual):  # type: ignore[no-untyped-def]
    for time in range(values.shape[0]):
        row, mean = values[time], usual[slots[time]]
        for cell in range(row.size):
            mean[cell] += row[cell]
    for slot in range(count.size):
        usual[slot] *= np.float32(1 / max(count[slot], 1))


@njit(nogil=True, fastmath=True, cache=True)
def _roll(values, slots, usual, ring):  # type: ignore[no-untyped-def]
    """Put means of anomalies over the window where its middle is; what is read is always ahead of what is written."""
    window = ring.shape[0]
    share = 1 / window
    total = np.zeros(values.shape[1])
    for time in range(values.shape[0]):
        row, mean, oldest = values[time], usual[slots[time]], ring[time % window]
        for cell in range(row.size):
            anomaly = row[cell] - mean[cell]
            total[cell] += anomaly - oldest[cell]
            oldest[cell] = anomaly
        if time >= window - 1:
            middle = values[time - window // 2]
            for cell in range(row.size):
                middle[cell] = total[cell] * share


def place(block: Values, chunks: Values, column: int) -> None:
    """Copy a block (rows, columns) to where it belongs in a row of target chunks, of which it is in one column.

    `chunks` (down, across, rows, columns): each chunk is contiguous, ready to be encoded. NumPy copies at the speed of
    memory and without the GIL; loops compiled by numba took three times as long.
    """
    down, _, rows, columns = chunks.shape
    where, start = divmod(column, columns)
    chunks[:, where, :, start : start + block.shape[1]] = block.reshape(down, rows, -1)


@cache
def compile_all() -> None:
    """Compile, or load what was compiled: what a candidate does before it is measured."""
    flag_average(np.ones((AVERAGE, AVERAGE, 1), "c8"))
    flag_average_block(np.ones((2 * AVERAGE, 2, AVERAGE, 1), "c8"))
    smooth_anomaly(np.ones((WINDOW, 2), "f4"), np.zeros(WINDOW, "i8"))
