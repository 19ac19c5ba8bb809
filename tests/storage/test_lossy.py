"""What loses values is named before it is archived, and goes in only where somebody has decided so (L7)."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from blake3 import blake3

from terp.storage.errors import BadPolicy
from terp.storage.package.lossy import lossy
from terp.storage.product import StoredProduct
from terp.workflows.results.losses import demand_decided

sys.path.insert(0, str(Path(__file__).parent))
import products


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> StoredProduct:
    product = products.new(tmp_path_factory.mktemp("product"))
    products.fill(product)
    return product


def changed(sealed: StoredProduct, folder: Path, array: str = "v", code: str = "", **said: Any) -> StoredProduct:
    """A product whose metadata or code say something else."""
    shutil.copytree(sealed.folder, folder / "rows-0")
    body = json.loads((folder / "rows-0" / "product.json").read_bytes())["body"]
    path = folder / "rows-0" / "data.zarr" / array / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **said}))
    body["small"][f"{array}/zarr.json"] = [path.stat().st_size, blake3(path.read_bytes()).hexdigest()]
    body["ingredients"]["code"] = {"rows": code}
    envelope = {"body": body, "blake3": blake3(rfc8785.dumps(body)).hexdigest()}
    (folder / "rows-0" / "product.json").write_bytes(rfc8785.dumps(envelope))
    return StoredProduct(folder / "rows-0")


def test_l7_what_terp_writes_loses_nothing(sealed: StoredProduct) -> None:
    assert lossy(sealed) == {}
    demand_decided([sealed], {})


@pytest.mark.parametrize(
    "codec", ["bitround", "numcodecs.quantize", "numcodecs.fixedscaleoffset", "scale_offset", "numcodecs.zfpy", "new"]
)
@pytest.mark.parametrize("inside", [False, True])
def test_l7_a_codec_that_loses_or_is_not_known_is_named_with_its_array(
    sealed: StoredProduct, tmp_path: Path, codec: str, inside: bool
) -> None:
    codecs: list[dict[str, Any]] = [{"name": codec, "configuration": {"keepbits": 3}}, {"name": "bytes"}]
    if inside:
        codecs = [{"name": "sharding_indexed", "configuration": {"codecs": codecs, "chunk_shape": [1]}}]
    assert lossy(changed(sealed, tmp_path, "t", codecs=codecs)) == {"t": f"the codec {codec}"}


@pytest.mark.parametrize(
    "attribute",
    ["scale_factor", "quantization", "least_significant_digit", "_QuantizeBitRoundNumberOfSignificantBits"],
)
def test_l7_attributes_of_packed_or_rounded_values_are_named(
    sealed: StoredProduct, tmp_path: Path, attribute: str
) -> None:
    found = lossy(changed(sealed, tmp_path, attributes={attribute: 3}))
    assert found == {"v": f"its attribute {attribute}"}


@pytest.mark.parametrize(
    "code",
    [
        "def rows(block):\n    return numcodecs.BitRound(3).encode(block)",
        "from numcodecs import Quantize as q",
        "import numcodecs.zfpy",
        "codec = {'id': 'fixedscaleoffset'}",
    ],
)
def test_l7_a_stage_that_uses_such_a_codec_is_named(sealed: StoredProduct, tmp_path: Path, code: str) -> None:
    assert "in the code of rows" in lossy(changed(sealed, tmp_path, code=code))["v"]


def test_l7_a_stage_that_only_rounds_or_cannot_be_read_is_none(sealed: StoredProduct, tmp_path: Path) -> None:
    assert lossy(changed(sealed, tmp_path, code="def rows(b):\n    return b.round(1).astype('f4')")) == {}
    assert lossy(changed(sealed, tmp_path / "more", code="not Python {")) == {}


def test_l7_it_is_refused_unless_it_was_decided_for_that_array(sealed: StoredProduct, tmp_path: Path) -> None:
    product = changed(sealed, tmp_path, attributes={"scale_factor": 0.1})
    for decided in ({}, {"w": "as it was delivered"}, {"other/v": "as it was delivered"}):
        with pytest.raises(BadPolicy, match=r"rows/v: its attribute scale_factor.*\n.*\[lossy\]"):
            demand_decided([sealed, product], decided)
    for name in ("v", "rows/v"):
        demand_decided([sealed, product], {name: "as it was delivered"})
