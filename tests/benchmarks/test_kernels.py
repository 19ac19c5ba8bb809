"""The fast kernels of the benchmarks, beside the readable ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("numba", reason="the kernels need the radio extra")

import pandas as pd
import xarray as xr

from benchmarks import kernels


def visibilities(times: int, channels: int, pols: int) -> kernels.Values:
    random = np.random.default_rng(3)
    values = random.standard_normal((times, channels, pols, 2), dtype="f4").view("c8")[..., 0] + 3
    values[random.random(values.shape) < 0.01] += 40
    return values.astype("c8")


@pytest.mark.parametrize("shape", [(64, 16, 4), (512, 128, 4), (24, 8, 1)])
def test_the_fast_flagging_and_averaging_agrees_with_the_readable_one(shape: tuple[int, int, int]) -> None:
    values = visibilities(*shape)
    before = values.copy()
    found, expected = kernels.flag_average(values), kernels.flag_average_plain(values)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(values, before)


def test_interference_does_not_reach_the_average_unless_nothing_else_is_there() -> None:
    values = np.ones((16, 8, 1), "c8")
    values[3] = 1000
    assert np.allclose(kernels.flag_average(values), 1)


def test_the_scratch_of_flagging_may_be_used_again() -> None:
    first, second = visibilities(64, 16, 4), visibilities(64, 16, 4)[::-1].copy()
    scratch, out = kernels.Scratch.of(first.shape), np.empty((8, 2, 4), "c8")
    kernels.flag_average(first, out, scratch)
    assert np.array_equal(kernels.flag_average(second, out, scratch), kernels.flag_average(second))


@given(arrays("f4", st.integers(1, 70), elements=st.floats(0, 100, width=32) | st.sampled_from([0, 1, 2])))
def test_the_median_by_counting_is_that_of_numpy(row: np.ndarray[Any, Any]) -> None:
    assert kernels._median(row) == np.median(row)


@pytest.mark.parametrize("channels", [16, 256, 136])
def test_baselines_of_a_block_are_flagged_each_by_itself_in_parts_that_make_no_difference(channels: int) -> None:
    block = np.stack([visibilities(64, channels, 4), visibilities(64, channels, 4)[::-1]], axis=1)
    for number in range(2):
        assert np.array_equal(
            kernels.flag_average_block(block)[:, number], kernels.flag_average(block[:, number].copy())
        )


@pytest.mark.parametrize(("days", "cells"), [(1100, 7), (800, 300), (40, 2)])
def test_the_fast_smooth_anomaly_agrees_with_that_of_xarray(days: int, cells: int) -> None:
    time = pd.date_range("2003-02-20", periods=days)
    values = np.random.default_rng(4).normal(10, 1, (days, cells)).astype("f4")
    expected = kernels.smooth_anomaly_plain(xr.DataArray(values.astype("f8"), {"time": time}, ("time", "cell")))
    kernels.smooth_anomaly(values, time.day_of_year.to_numpy() - 1)
    np.testing.assert_allclose(values, expected.to_numpy(), atol=1e-5)


@pytest.mark.parametrize(("columns", "column"), [(32, 0), (32, 96), (128, 256)])
def test_a_block_that_is_placed_in_chunks_is_where_it_was_in_the_slab(columns: int, column: int) -> None:
    block = np.random.default_rng(5).normal(size=(64, columns)).astype("f4")
    chunks, slab = np.zeros((4, 5, 16, 128), "f4"), np.zeros((64, 640), "f4")
    kernels.place(block, chunks, column)
    slab[:, column : column + columns] = block
    assert np.array_equal(chunks.transpose(0, 2, 1, 3).reshape(slab.shape), slab)
