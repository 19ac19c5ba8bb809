"""The roots of a seal can be made without terp, and stand for each leaf with its key and place."""

import json
import random
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from itertools import product as combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rfc8785
import xarray as xr
import zarr
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from terp.storage import ledger, tree
from terp.storage import product as stored_product
from terp.storage.errors import OtherFormat
from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.product import FORMAT, Seal, StoredProduct
from terp.storage.writing import Written, write_region

sys.path.insert(0, str(Path(__file__).parent))
import products

# as docs/architecture.md says, section "The trees", with nothing of terp


def leaf(key: str, digest: bytes) -> bytes:
    return blake3(b"\0" + len(key.encode()).to_bytes(8, "little") + key.encode() + digest).digest()


def inner(children: list[bytes]) -> bytes:
    return blake3(b"\1" + b"".join(children)).digest()


def top(leaves: list[bytes]) -> bytes:
    level = [inner(leaves[at : at + 256]) for at in range(0, len(leaves), 256)] or [inner([])]
    return level[0] if len(level) == 1 else top(level)


def digest_of(values: Any) -> bytes:
    if values.dtype.kind in "OT":
        texts = [text.encode() for text in values.ravel()]
        whole = b"".join(len(text).to_bytes(8, "little") + text for text in texts)
        return blake3(f"string{values.shape}".encode() + whole).digest()
    return blake3(f"{values.dtype.str}{values.shape}".encode() + values.tobytes()).digest()


_ALL = slice(None)
SAID = ("attributes", "data_type", "dimension_names", "fill_value", "node_type", "shape")


def shards(folder: Path) -> list[tuple[str, bytes]]:
    """The keys and values of all shards in order."""
    root, found = zarr.open_group(folder / "data.zarr", mode="r"), []
    for group in json.loads((folder / "product.json").read_bytes())["body"]["groups"]:
        counts = [range(-(-size // block)) for size, block in (group["cut"][dim] for dim in group["order"])]
        for places, array in combinations(combinations(*counts), group["arrays"]):
            at = dict(zip(group["order"], places, strict=True))
            path = f"{group['path']}/{array['name']}".strip("/")
            blocks = {dim: group["cut"][dim][1] for dim in at}
            parts = [
                slice(at[d] * blocks[d], (at[d] + 1) * blocks[d]) if d in at else slice(None) for d in array["dims"]
            ]
            key = "/".join([path, "c", *(str(at.get(dim, 0)) for dim in array["dims"])])
            values: Any = root[path]
            found.append((key, digest_of(np.asarray(values[tuple(parts)]))))
    return found


def roots(folder: Path) -> tuple[str, str]:
    """The roots of values and of stored bytes."""
    data, by_value = folder / "data.zarr", shards(folder)
    files = {path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    stored = {key: blake3(whole).digest() for key, whole in files.items()}
    small = {key: stored[key] for key in stored.keys() - {key for key, _ in by_value}}
    says, large = dict[str, bytes](), {key.partition("/c/")[0] for key, _ in by_value}
    for key in (key for key in small if key.rpartition("/")[2] == "zarr.json"):
        said = json.loads(files[key])
        says[key] = blake3(rfc8785.dumps({one: said[one] for one in SAID if one in said})).digest()
        path = key.rpartition("/")[0]
        if said["node_type"] == "array" and path not in large:
            array: Any = zarr.open_array(data, path=path, mode="r")
            says[path] = digest_of(np.asarray(array[...]))
    trees = (says, by_value), (small, [(key, stored[key]) for key, _ in by_value])
    values, bytes_ = (
        inner([top([leaf(key, one[key]) for key in sorted(one)]), top([leaf(*pair) for pair in many])]).hex()
        for one, many in trees
    )
    return values, bytes_


def layout(codec: str = "", rows: int = 215) -> Layout:
    """Two groups, one with two arrays, cut along both dimensions into more shards than a node has children."""
    cut, other = {"y": (5, 2), "x": (rows, 5)}, {"t": (3, 3)}
    arrays = (
        shape_array("v", ("x", "y"), (rows, 5), "f4", cut),
        shape_array("w", ("y", "k", "x"), (5, 2, rows), "i2", cut),
    )
    group, below = Group("", cut, arrays), Group("a/b", other, (shape_array("z", ("t",), (3,), "c8", other),))
    names = np.array([f"{number:02} é" for number in range(5)], object)
    small = xr.Dataset(coords={"x": np.arange(rows) / 7, "y": names, "k": ["one", "two"], "one": 3.5}, attrs={"a": 0.1})
    return Layout((group, below), {"": small, "a/b": xr.Dataset(coords={"t": [0, 1, 2]})}).stored(True, codec)


def made(folder: Path, codec: str = "", shuffled: bool = False) -> StoredProduct:
    """A product of it, filled and sealed."""
    folder.mkdir()
    product = create(folder / "p-0", "p", "p-0", {}, layout(codec))
    with Filling(product) as filling:
        places = list(filling.missing())
        if shuffled:
            random.Random(1).shuffle(places)
        filling.commit([written(filling, product.group(path), index) for path, index in places])
        assert not isinstance(filling.seal(), list)
    return product


def written(filling: Filling, group: Group, index: int) -> Written:
    box = group.box(index)
    blocks = {
        array.name: np.arange(index, index + np.prod(group.block_shape(array, box)), dtype=array.dtype).reshape(
            group.block_shape(array, box)
        )
        for array in group.arrays
    }
    return Written(group.path, index, write_region(filling.attempts, group, index, blocks), 0.0, "w")


def test_both_roots_can_be_made_without_terp_as_the_architecture_tells(tmp_path: Path) -> None:
    product = made(tmp_path / "a")
    assert product.seal is not None
    assert sum(1 for _ in product.shards()) > 256
    assert (product.seal.values, product.seal.stored) == roots(product.folder)
    small = products.new(tmp_path)
    products.fill(small)
    assert small.seal is not None
    assert (small.seal.values, small.seal.stored) == roots(small.folder)


def test_the_codec_and_the_order_of_work_are_not_in_the_identity_and_the_codec_is_in_the_bytes(tmp_path: Path) -> None:
    one, two, three = (
        made(tmp_path / name, codec, name == "b").seal for name, codec in (("a", ""), ("b", ""), ("c", "none"))
    )
    assert one == two
    assert one is not None
    assert three is not None
    assert one.values == three.values
    assert one.stored != three.stored


def test_how_a_small_array_is_stored_is_not_in_the_identity_and_its_values_and_metadata_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, seals = products.layout(), list[Seal]()

    def seal(x: xr.Variable) -> Seal:
        small = xr.Dataset(coords={"x": x, "t": plain.schemas[""]["t"]})
        (tmp_path / str(len(seals))).mkdir()
        folder = tmp_path / str(len(seals)) / "rows-0"
        product = create(folder, "rows", "rows-0", {}, replace(plain, schemas={"": small}))
        products.fill(product)
        assert product.seal is not None
        seals.append(product.seal)
        return product.seal

    first = seal(xr.Variable("x", np.arange(6)))
    changed = (np.arange(6) + 1, {}), (np.arange(6.0), {}), (np.arange(6), {"a": 1})
    others = [xr.Variable("x", values, attributes) for values, attributes in changed]
    assert len({first.values, *(seal(other).values for other in others)}) == 4
    monkeypatch.setattr(zarr.codecs, "ZstdCodec", partial(zarr.codecs.ZstdCodec, checksum=True))
    again = seal(xr.Variable("x", np.arange(6)))
    assert again.stored != first.stored
    assert again.values == first.values


def test_a_product_of_another_format_is_refused_in_words_and_left_as_it_is(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    path = product.folder / "product.json"
    body = json.loads(path.read_bytes())["body"] | {"format": FORMAT - 1}
    path.write_bytes(rfc8785.dumps({"body": body, "blake3": blake3(rfc8785.dumps(body)).hexdigest()}))
    old = path.read_bytes()
    for open_it in (lambda: StoredProduct(product.folder), lambda: products.new(tmp_path)):
        with pytest.raises(OtherFormat, match=f"a product of format {FORMAT - 1}.*terp rm rows-0"):
            open_it()
    assert path.read_bytes() == old


digests = st.binary(min_size=32, max_size=32)
contents = st.dictionaries(st.text(max_size=6), digests, max_size=8)
series = st.lists(st.tuples(st.text(max_size=6), digests), max_size=8)


def root(small: dict[str, bytes], large: list[tuple[str, bytes]]) -> str:
    [leaves] = tree.leaves([key for key, _ in large], [digest for _, digest in large])
    return tree.root(small, tree.nodes(leaves))


def test_a_seal_is_the_same_however_many_regions_are_looked_at_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = made(tmp_path / "once")
    monkeypatch.setattr(ledger, "_SPAN", 37)
    monkeypatch.setattr(stored_product, "_AT_ONCE", 5)
    again = made(tmp_path / "again", shuffled=True)
    assert again.seal == once.seal
    for name in ("manifest.rows", "manifest.sums"):
        assert (again.folder / name).read_bytes() == (once.folder / name).read_bytes()


@given(st.binary(max_size=90), st.lists(st.integers(0, 90)), st.integers(1, 20))
def test_runs_are_hashed_alike_however_their_bytes_come(data: bytes, cuts: list[int], step: int) -> None:
    runs = tree.Runs(step, b"mark")
    for start, stop in pairwise([0, *sorted(cuts), len(data)]):
        runs.add(data[start:stop])
    assert runs.digests() == [blake3(b"mark" + data[at : at + step]).digest() for at in range(0, len(data), step)]


@given(contents, series, st.data())
def test_no_two_contents_have_the_same_root(small: dict[str, bytes], large: list[Any], data: st.DataObject) -> None:
    other = data.draw(st.one_of(st.just((small, large)), st.tuples(contents, series)))
    assert (root(small, large) == root(*other)) == ((small, large) == other)


@given(contents.filter(bool), series.filter(bool), st.data())
def test_any_change_to_a_leaf_changes_the_root(small: dict[str, bytes], large: list[Any], data: st.DataObject) -> None:
    at, key = data.draw(st.integers(0, len(large) - 1)), data.draw(st.sampled_from(sorted(small)))
    flipped = bytes([small[key][0] ^ 1]) + small[key][1:]
    name, digest = large[at]
    others = [
        ({**small, key: flipped}, large),
        ({one: two for one, two in small.items() if one != key}, large),
        ({(one + "'" if one == key else one): two for one, two in small.items()}, large),
        (small, [*large[:at], *large[at + 1 :]]),
        (small, [*large[:at], (name + "'", digest), *large[at + 1 :]]),
        (small, [*large[:at], (name, flipped), *large[at + 1 :]] if digest != flipped else large[:-1]),
        (small, [*large, large[at]]),
        (small, large[::-1] if large != large[::-1] else []),
    ]
    assert root(small, large) not in [root(*other) for other in others]
    assert root(dict(reversed(small.items())), large) == root(small, large)


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 65536, 65537])
def test_a_tree_of_any_size_is_that_of_the_text(count: int) -> None:
    pairs = [(str(number), blake3(str(number).encode()).digest()) for number in range(count)]
    assert root({}, pairs) == inner([top([]), top([leaf(*pair) for pair in pairs])]).hex()


@given(st.sets(st.integers(0, 999), max_size=5))
def test_going_down_finds_just_what_differs_and_reads_just_the_runs_of_it(changed: set[int]) -> None:
    one = [blake3(str(number).encode()).digest() for number in range(1000)]
    two = [digest if number not in changed else bytes(32) for number, digest in enumerate(one)]
    read = list[int]()

    def grown(values: list[bytes]) -> tree.Tree:
        [leaves] = tree.leaves(map(str, range(1000)), values)

        def run(number: int) -> list[bytes]:
            read.append(number)
            return values[number * tree.FAN : (number + 1) * tree.FAN]

        return tree.Tree("", tree.nodes(leaves), dict, run, "it")

    assert list(grown(one).unlike(grown(two))) == sorted(changed)
    assert sorted(read) == sorted([number // tree.FAN for number in {n // 256 * 256 for n in changed}] * 2)
