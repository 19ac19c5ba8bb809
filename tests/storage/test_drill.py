"""Readable in 2046: an archived object read without terp, by the page that says how and by the formats' own words."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import ZipStore

from terp.storage.home import Home
from terp.workflows import api

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/readable-in-2046.md"
TOOLS = ["bash", "cat", "find", "grep", "head", "sha512sum", "tail", "unzip", "wc"]
FLOW = """
import xarray as xr
from prefect import flow

from terp.workflows import Product, ingest, stage


@stage(cut=("lat",))
def doubled(block: xr.Dataset) -> xr.Dataset:
    return block * 2


@stage(cut=("lat",), codec="CODEC")
def counted(block: xr.Dataset) -> xr.Dataset:
    return block.count("time")


@flow
def both(source: str) -> dict[str, Product]:
    read = ingest(source)
    return {"doubled": doubled(read), "counted": counted(read)}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, prefect_here: dict[str, str]) -> Path:
    """The content of an archived object, copied away from where it was made."""
    desk = tmp_path_factory.mktemp("drill")
    random = np.random.default_rng(1)
    times = np.datetime64("2001-01-01", "ns") + np.arange(37).astype("timedelta64[D]")
    values = random.normal(280, 9, (37, 6, 301)).astype("f4")
    values[3, 2] = np.nan
    coords = {"time": times, "lat": np.linspace(50, 53, 6), "lon": np.arange(301.0)}
    frame = xr.Dataset({"t": (("time", "lat", "lon"), values)}, coords)
    frame.to_netcdf(desk / "source.nc")
    (desk / "flow.py").write_text(FLOW.replace("CODEC", "lz4-5-shuffle"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**prefect_here, "TERP_AGENT": "A Tester"}.items():
            patch.setenv(name, value)
        run = api.run(f"{desk / 'flow.py'}:both", str(desk / "source.nc"), home=Home(desk / "home").root, workers=1)
    content = next(Path(run.record.archived["path"]).glob("v1/content"))
    shutil.copytree(content, desk / "found")
    return desk / "found"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with coreutils, unzip, and a Python that has zarr and no terp."""
    folder = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        path = shutil.which(tool)
        if path is None:
            pytest.skip(f"the drill needs {tool}, which is not here")
        (folder / tool).symlink_to(path)
    no_terp = "import sys; sys.modules['terp'] = None"
    (folder / "python3").write_text(
        f'#!{shutil.which("bash")}\n[ "$1" = -c ] && exec {sys.executable} -c "{no_terp}\n$2" "${{@:3}}"\n'
    )
    (folder / "python3").chmod(0o755)
    return {"PATH": str(folder), "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def test_the_drill_reads_data_metadata_checksums_and_story_without_terp(found: Path, machine: dict[str, str]) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    script = "\n".join(blocks).replace("/tmp/", f"{found.parent}/")
    shell = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(shell, cwd=found, env=machine, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in (
        "Deze map bevat",
        "This folder holds",
        "openness",
        "source.nc",
        "from prefect import flow",
        "t (37, 6, 301) float32",
    ):
        assert words in done.stdout


def test_the_drill_says_which_file_was_altered(found: Path, machine: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(found, copy)
    package = copy / "doubled.zarr.zip"
    package.chmod(0o644)
    with package.open("r+b") as file:
        file.seek(-3000, os.SEEK_END)
        byte = file.read(1)
        file.seek(-3000, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    first = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    done = subprocess.run(["bash", "-euc", first], cwd=copy, env=machine, capture_output=True, text=True)
    assert done.returncode != 0
    assert "doubled.zarr.zip: FAILED" in done.stdout


def test_every_file_and_every_codec_of_an_object_is_described_in_it(found: Path) -> None:
    told = (found / "FORMATS.md").read_text()
    for path in found.iterdir():
        ending = re.sub(r"^.*?(\.zarr\.zip.*)$", r"\1", path.name)
        assert path.name in told or ending in told or path.suffix in (".md", ".svg", ".png"), path.name
    used = {codec for package in found.glob("*.zarr.zip") for codec in codecs(package)}
    assert {"sharding_indexed", "blosc", "crc32c", "bytes"} <= used
    assert [name for name in used if f"`{name}`" not in told] == []


def test_the_dutch_text_tells_of_every_file(found: Path) -> None:
    told = (found / "LEESMIJ.md").read_text()
    assert [path.name for path in found.iterdir() if f"`{path.name}`" not in told] == []
    assert "zie README.md" not in told


def test_a_program_written_from_the_formats_alone_reads_every_value(found: Path) -> None:
    packages = sorted(found.glob("*.zarr.zip"))
    assert len(packages) == 2
    for package in packages:
        members = unzip(package.read_bytes())
        group = zarr.open_group(ZipStore(package, read_only=True), mode="r")
        for name, array in group.arrays():
            by_hand = read_array(members, name)
            assert by_hand.tobytes() == np.asarray(array[...]).tobytes(), name


def codecs(package: Path) -> Iterator[str]:
    def names(plain: Any) -> Iterator[str]:
        for one in plain:
            yield one["name"]
            yield from names(one.get("configuration", {}).get("codecs", []))

    with zipfile.ZipFile(package) as file:
        for member in file.namelist():
            if member.endswith("zarr.json"):
                yield from names(json.loads(file.read(member)).get("codecs", []))


# what FORMATS.md says, and nothing else


def unzip(data: bytes) -> dict[str, bytes]:
    """Section 1."""
    end = data[-98:]
    assert end[:4] == b"PK\6\6"
    count, _, _, at = struct.unpack("<4Q", end[24:56])
    found = {}
    for _ in range(count):
        assert data[at : at + 4] == b"PK\1\2"
        name_length = struct.unpack_from("<H", data, at + 28)[0]
        name = data[at + 46 : at + 46 + name_length].decode()
        extra = at + 46 + name_length
        size, _, start = struct.unpack_from("<3Q", data, extra + 4)
        lengths = struct.unpack_from("<2H", data, start + 26)
        body = start + 30 + sum(lengths)
        assert body % 4096 == 0
        found[name] = data[body : body + size]
        at = extra + 28
    return found


def read_array(members: dict[str, bytes], name: str) -> Any:
    """Section 2."""
    about = json.loads(members[f"{name}/zarr.json"])
    shape, piece = about["shape"], about["chunk_grid"]["configuration"]["chunk_shape"]
    dtype = np.dtype(about["data_type"])
    whole = np.empty([-(-n // p) * p for n, p in zip(shape, piece, strict=True)], dtype)
    for place in np.ndindex(*[-(-n // p) for n, p in zip(shape, piece, strict=True)]):
        key = "/".join([name, "c", *map(str, place)])
        box = tuple(slice(i * p, (i + 1) * p) for i, p in zip(place, piece, strict=True))
        whole[box] = decoded(members[key], about["codecs"], piece, dtype)
    return whole[tuple(slice(0, n) for n in shape)]


def decoded(data: bytes, steps: list[Any], shape: list[int], dtype: Any) -> Any:
    """Go back from the last codec to the first."""
    for step in reversed(steps):
        if step["name"] == "crc32c":
            assert crc32c(data[:-4]) == int.from_bytes(data[-4:], "little")
            data = data[:-4]
        elif step["name"] == "blosc":
            data = unblosc(data)
        elif step["name"] == "zstd":
            data = unzstd(data, None)
        elif step["name"] == "sharding_indexed":
            return unshard(data, step["configuration"], shape, dtype)
        else:
            assert step["name"] == "bytes"
            assert step.get("configuration", {}).get("endian", "little") == "little"
            return np.frombuffer(data, dtype).reshape(shape)
    raise AssertionError("no bytes codec")


def unshard(data: bytes, about: Any, shape: list[int], dtype: Any) -> Any:
    """Section 3."""
    inner = about["chunk_shape"]
    grid = [n // m for n, m in zip(shape, inner, strict=True)]
    index = data[-16 * int(np.prod(grid)) - 4 :]
    assert crc32c(index[:-4]) == int.from_bytes(index[-4:], "little")
    whole = np.empty(shape, dtype)
    for number, place in enumerate(np.ndindex(*grid)):
        start, length = struct.unpack_from("<2Q", index, 16 * number)
        box = tuple(slice(i * m, (i + 1) * m) for i, m in zip(place, inner, strict=True))
        whole[box] = decoded(data[start : start + length], about["codecs"], inner, dtype)
    return whole


def unblosc(data: bytes) -> bytes:
    """Section 4."""
    flags, size = data[2], data[3]
    total, block, stored = struct.unpack_from("<3I", data, 4)
    assert stored == len(data)
    if flags & 2:
        return data[16 : 16 + total]
    plain = b""
    for number in range(-(-total // block)):
        at = struct.unpack_from("<I", data, 16 + 4 * number)[0]
        length = min(block, total - number * block)
        split = not flags & 16 and size <= 16 and block // size >= 128 and length == block
        streams = size if split else 1
        piece = b""
        for _ in range(streams):
            here = struct.unpack_from("<I", data, at)[0]
            body, wanted = data[at + 4 : at + 4 + here], length // streams
            piece += body if here == wanted else (unlz4(body) if flags >> 5 == 1 else unzstd(body, wanted))
            at += 4 + here
        assert len(piece) == length
        plain += unshuffled(piece, size, flags)
    return plain


def unshuffled(piece: bytes, size: int, flags: int) -> bytes:
    """Section 4, the last paragraph."""
    count = len(piece) // size
    body, rest = np.frombuffer(piece[: count * size], np.uint8), piece[count * size :]
    if flags & 1:
        body = body.reshape(size, count).T.reshape(-1)
    elif flags & 4 and count % 8 == 0:
        bits = np.unpackbits(body.reshape(size, 8, count // 8), axis=-1, bitorder="little")
        body = np.packbits(bits.transpose(2, 0, 1), axis=-1, bitorder="little").reshape(-1)
    return body.tobytes() + rest


def crc32c(data: bytes) -> int:
    """Section 5."""
    table = []
    for byte in range(256):
        entry = byte
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    found = 0xFFFFFFFF
    for byte in data:
        found = found >> 8 ^ table[(found ^ byte) & 255]
    return found ^ 0xFFFFFFFF


def unlz4(data: bytes) -> bytes:
    """The LZ4 block format."""
    out, at = bytearray(), 0
    while at < len(data):
        token, at = data[at], at + 1
        literals, at = longer(token >> 4, data, at)
        out += data[at : at + literals]
        at += literals
        if at >= len(data):
            break
        back = int.from_bytes(data[at : at + 2], "little")
        length, at = longer(token & 15, data, at + 2)
        for _ in range(length + 4):
            out.append(out[-back])
    return bytes(out)


def longer(length: int, data: bytes, at: int) -> tuple[int, int]:
    more = 255 if length == 15 else 0
    while more == 255:
        more, at = data[at], at + 1
        length += more
    return length, at


def unzstd(data: bytes, size: int | None) -> bytes:
    """A frame of RFC 8878, by a library that knows nothing else."""
    from numcodecs.zstd import decompress

    return bytes(decompress(data, None if size is None else bytearray(size)))
