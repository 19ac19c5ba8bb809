"""Arrays that others wrote as Zarr: any box of them is what zarr-python reads, and what is lacking is never silent."""

import itertools
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from terp.storage.errors import BadInput, Damaged, Missing
from terp.storage.foreign import ForeignArray
from terp.storage.ingest import zarr as reader
from terp.storage.source import Source, identify

NAN = float("nan")
SHAPE, SHARD, CHUNK = (13, 10), (8, 6), (4, 3)

Values = np.ndarray[Any, Any]


def never(_: Any) -> bool:
    return False


def always(_: Any) -> bool:
    return True


WAYS: dict[str, dict[str, Any]] = {
    "as they are": {"shards": SHARD, "compressors": None},
    "summed": {"shards": SHARD, "compressors": [Crc32cCodec()]},
    "blosc": {"shards": SHARD, "compressors": [BloscCodec(cname="lz4", shuffle="shuffle")]},
    "blosc, summed": {"shards": SHARD, "compressors": [BloscCodec(cname="zlib"), Crc32cCodec()]},
    "zstd": {"shards": SHARD},
    "big-endian": {"shards": SHARD, "compressors": None, "serializer": BytesCodec(endian="big")},
    "alone, blosc": {"compressors": [BloscCodec()]},
    "gzip": {"compressors": [GzipCodec()]},
    "no shards": {"compressors": None},
    "index first, blosc": {
        "chunks": SHARD,
        "serializer": ShardingCodec(chunk_shape=CHUNK, codecs=[BytesCodec(), BloscCodec()], index_location="start"),
        "compressors": None,
    },
    "index first": {
        "chunks": SHARD,
        "serializer": ShardingCodec(chunk_shape=CHUNK, codecs=[BytesCodec()], index_location="start"),
        "compressors": None,
    },
    "v2": {"zarr_format": 2, "compressors": numcodecs.Zstd(level=1)},
    "v2, in folders": {
        "zarr_format": 2,
        "compressors": numcodecs.Blosc(),
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    },
    "v2, big-endian": {"zarr_format": 2, "compressors": None, "dtype": ">f4", "order": "F"},
}
OURS = {"as they are", "summed", "blosc", "blosc, summed"}


def written(folder: Path, way: str, values: Values | None = None, **more: Any) -> zarr.Array[Any]:
    """An array "v" of a group, written by zarr-python in one of the ways."""
    values = np.arange(130, dtype="f4").reshape(SHAPE) + 1 if values is None else values
    options = {"chunks": CHUNK, "dtype": values.dtype, "fill_value": NAN, **WAYS[way], **more}
    if options.get("zarr_format") == 2:
        options["attributes"] = {"_ARRAY_DIMENSIONS": ["t", "x"]}
    else:
        options["dimension_names"] = ("t", "x")
    zarr.create_group(folder, zarr_format=options.get("zarr_format", 3), overwrite=True)
    made = zarr.create_array(folder, name="v", shape=values.shape, **options)
    made[...] = values
    return made


def opened(folder: Path, is_missing: Any = never) -> ForeignArray:
    return ForeignArray(folder, "v", ("t", "x"), is_missing)


def chunk_files(folder: Path) -> list[Path]:
    meta = ("zarr.json", ".zarray", ".zattrs")
    return sorted(path for path in (folder / "v").rglob("*") if path.is_file() and path.name not in meta)


picks = st.tuples(
    *(
        st.one_of(
            st.tuples(st.integers(0, size), st.integers(0, size)).map(lambda ends: slice(min(ends), max(ends))),
            st.lists(st.integers(0, size - 1), min_size=1, max_size=5).map(np.array),
        )
        for size in SHAPE
    )
)


@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pick=picks)
def test_any_part_is_what_zarr_python_reads(tmp_path: Path, way: str, pick: tuple[Any, ...]) -> None:
    if not (tmp_path / "a").exists():
        written(tmp_path / "a", way)
    found = opened(tmp_path / "a")
    assert (found._shards is not None) == (way in OURS)
    np.testing.assert_array_equal(found.read(pick), zarr.open_array(tmp_path / "a/v", mode="r").oindex[pick])


@pytest.mark.parametrize("dtype", ["i2", "u8", "f8", "c8", "bool"])
@pytest.mark.parametrize("way", sorted(OURS))
def test_all_types_of_numbers_come_through(tmp_path: Path, way: str, dtype: str) -> None:
    values = (np.random.default_rng(3).integers(0, 100, SHAPE) % 7).astype(dtype)
    written(tmp_path / "a", way, values, fill_value=0)
    np.testing.assert_array_equal(opened(tmp_path / "a").read([slice(0, 13), slice(0, 10)]), values)


@pytest.mark.parametrize("way", WAYS)
def test_the_files_of_a_box_are_those_without_which_it_cannot_be_read(tmp_path: Path, way: str) -> None:
    written(tmp_path / "a", way)
    box = {"t": slice(3, 8), "x": slice(6, 10)}
    pieces = opened(tmp_path / "a").pieces
    wanted = {tmp_path / "a" / name for name in pieces.files(box, {"t": 13, "x": 10})}
    for path in chunk_files(tmp_path / "a"):
        data = path.read_bytes()
        path.unlink()
        if path in wanted:
            with pytest.raises((ValueError, Missing)):
                opened(tmp_path / "a").read(list(box.values()))
        else:
            opened(tmp_path / "a").read(list(box.values()))
        path.write_bytes(data)


@pytest.mark.parametrize("way", ["blosc", "zstd", "no shards", "v2"])
def test_a_missing_file_is_read_as_missing_values_only_where_that_is_what_its_fill_value_means(
    tmp_path: Path, way: str
) -> None:
    written(tmp_path / "a", way)
    chunk_files(tmp_path / "a")[0].unlink()
    whole = [slice(0, 13), slice(0, 10)]
    with pytest.raises((ValueError, Missing)):
        opened(tmp_path / "a").read(whole)
    expected = zarr.open_array(tmp_path / "a/v", mode="r")[...]
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(opened(tmp_path / "a", always).read(whole), expected)
    np.testing.assert_array_equal(
        opened(tmp_path / "a", always).read([np.array([1, 12, 0]), slice(0, 10)]), expected[[1, 12, 0]]
    )


@pytest.mark.parametrize("way", ["as they are", "blosc, summed", "zstd"])
def test_a_chunk_that_the_index_of_a_shard_says_was_left_out_is_its_fill_value(tmp_path: Path, way: str) -> None:
    values = np.arange(130, dtype="f4").reshape(SHAPE)
    values[:4, :3] = 7
    written(tmp_path / "a", way, values, fill_value=7)
    np.testing.assert_array_equal(opened(tmp_path / "a").read([slice(0, 13), slice(0, 10)]), values)


@pytest.mark.parametrize("way", sorted(OURS))
def test_a_shard_that_was_cut_short_or_whose_index_was_flipped_is_damaged(tmp_path: Path, way: str) -> None:
    written(tmp_path / "a", way)
    path = chunk_files(tmp_path / "a")[0]
    data = path.read_bytes()
    for wrong in (data[:-9], b"", data[:-20] + bytes([data[-20] ^ 4]) + data[-19:]):
        path.write_bytes(wrong)
        with pytest.raises(Damaged):
            opened(tmp_path / "a").read([slice(0, 13), slice(0, 10)])


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_was_cut_short_anywhere_is_never_read_as_numbers(tmp_path: Path, way: str) -> None:
    values = np.round(np.random.default_rng(2).normal(size=SHAPE), 2).astype("f4")
    written(tmp_path / "a", way, values)
    path = chunk_files(tmp_path / "a")[0]
    data = path.read_bytes()
    for cut in {1, 2, 5, 20, len(data) // 2, len(data) - 10, len(data) - 1, len(data)}:
        path.write_bytes(data[:-cut])
        for _ in range(5):  # what is behind the end of it in memory is another each time
            with pytest.raises((Damaged, RuntimeError, ValueError, OSError, EOFError)):
                opened(tmp_path / "a").read([slice(0, 13), slice(0, 10)])


@pytest.mark.parametrize("way", ["summed", "blosc, summed"])
def test_a_flipped_byte_of_a_chunk_with_a_sum_is_damaged(tmp_path: Path, way: str) -> None:
    written(tmp_path / "a", way)
    path = chunk_files(tmp_path / "a")[0]
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged):
        opened(tmp_path / "a").read([slice(0, 13), slice(0, 10)])


# --- as a source ----------------------------------------------------------------------------------------------------


def encoded(way: str) -> dict[str, Any]:
    return {"v2": {"zarr_format": 2}, "v3": {"zarr_format": 3}, "sharded": {"zarr_format": 3}}[way]


def stored(folder: Path, way: str, **encoding: Any) -> xr.Dataset:
    """Twelve months of a small field as xarray writes them, packed if so encoded."""
    values = np.round(np.random.default_rng(5).normal(10, 3, (12, 8)), 1).astype("f4")
    values[2, 3] = np.nan
    axes = {"t": np.arange("2001-01", "2002-01", dtype="M8[M]").astype("M8[ns]"), "x": np.arange(8.0)}
    data = xr.Dataset({"v": (("t", "x"), values, {"units": "m"})}, axes)
    shards = {"shards": (6, 8)} if way == "sharded" else {}
    data.to_zarr(folder, consolidated=False, encoding={"v": {"chunks": (3, 4), **shards, **encoding}}, **encoded(way))
    return data


@pytest.mark.parametrize("way", ["v2", "v3", "sharded"])
@pytest.mark.parametrize(
    "encoding",
    [{}, {"dtype": "i2", "scale_factor": 0.1, "add_offset": 10.0, "_FillValue": -99}],
    ids=["plain", "packed"],
)
def test_what_is_read_is_what_xarray_reads(tmp_path: Path, way: str, encoding: dict[str, Any]) -> None:
    stored(tmp_path / "a.zarr", way, **encoding)
    expected = xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None)
    found = reader.read(tmp_path / "a.zarr")[""]
    for part in (slice(0, 12), slice(2, 7), [3, 1, 11], 5):
        assert found.v.isel(t=part).equals(expected.v.isel(t=part))
        assert found.v.isel(t=part).dtype == expected.v.dtype
    assert found.v.attrs == expected.v.attrs


@pytest.mark.parametrize(
    ("way", "encoding", "numbers"),
    [
        ("v2", {}, ""),
        ("v2", {"_FillValue": None}, "None"),
        ("v2", {"dtype": "i2", "_FillValue": -99}, ""),
        ("v3", {"fill_value": 0.0}, "0.0"),
        ("v3", {"fill_value": NAN}, ""),
        ("sharded", {"fill_value": 5.0, "_FillValue": 5.0}, ""),
        ("sharded", {"dtype": "i2", "_FillValue": -99, "fill_value": 0}, "0"),
    ],
)
def test_chunks_that_are_not_there_are_counted_or_refused_in_the_plan(
    tmp_path: Path, way: str, encoding: dict[str, Any], numbers: str
) -> None:
    store = tmp_path / "a.zarr"
    stored(store, way, **encoding)
    chunk_files(store)[0].unlink()
    source = Source(identify(store, tmp_path / "cache"))
    missing = f"lacks 1 of {'2 shards' if way == 'sharded' else '8 chunks'} of 'v'"
    if numbers:
        with pytest.raises(BadInput, match=f"{missing}, which Zarr reads as {numbers}, and that is not marked"):
            source.lacking()
        with pytest.raises((ValueError, Missing)):
            source.groups[""].v.load()
    else:
        (said,) = source.lacking()
        assert missing in said
        assert "read as missing values" in said
        expected = xr.open_zarr(store, consolidated=False, chunks=None).v
        assert int(expected.isnull().sum()) >= 12
        assert source.groups[""].v.equals(expected)


def test_a_source_that_lacks_nothing_says_nothing(tmp_path: Path) -> None:
    for way in ("v2", "v3", "sharded"):
        stored(tmp_path / way, way)
        assert Source(identify(tmp_path / way, tmp_path / "cache")).lacking() == []


def test_the_boxes_of_a_grid_share_no_file_and_leave_none_out(tmp_path: Path) -> None:
    stored(tmp_path / "a", "v2")
    source = Source(identify(tmp_path / "a", tmp_path / "cache"))
    boxes = [
        {"t": slice(t, t + 3), "x": slice(x, x + 4)} for t, x in itertools.product(range(0, 12, 3), range(0, 8, 4))
    ]
    names = [name for box in boxes for name in source.files("", box)]
    assert sorted(names) == sorted(str(path.relative_to(tmp_path / "a")) for path in chunk_files(tmp_path / "a"))


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_codecs_of_which_ours_knows_nothing_are_left_to_zarr_python(tmp_path: Path) -> None:
    written(tmp_path / "a", "as they are", compressors=[ZstdCodec(), Crc32cCodec()])
    assert opened(tmp_path / "a")._shards is None
