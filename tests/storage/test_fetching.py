"""A source at a URL is fetched once, is what its server has now, and is told of by URL, ETag and digest."""

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from serving import Served, serving

from terp.storage import meter
from terp.storage.errors import BadInput
from terp.storage.fetching import identified


def grid(folder: Path, first: float) -> bytes:
    xr.Dataset({"t": ("x", np.arange(first, first + 9))}, {"x": np.arange(9)}).to_netcdf(folder / "grid.nc")
    return (folder / "grid.nc").read_bytes()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(grid(tmp_path, 0)) as served:
        yield served


def test_it_is_fetched_once_and_told_of_by_url_etag_and_digest(served: Served, tmp_path: Path) -> None:
    first = identified(served.url, tmp_path)
    assert (first.url, first.etag, first.sha256) == (served.url, '"one"', hashlib.sha256(served.data).hexdigest())
    assert Path(first.path).name == "sst a.nc"
    assert Path(first.path).read_bytes() == served.data
    assert identified(served.url, tmp_path) == first
    assert served.codes == [200, 304]
    assert first.keep(tmp_path).load() == first


def test_how_far_it_is_is_told_while_it_takes_long(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "_EVERY", 0.0)
    served.data = grid(tmp_path, 0) + bytes(3 << 20)
    told: list[str] = []
    identified(served.url, tmp_path, told.append)
    fetched = [words for words in told if words.startswith(f"fetching {served.url}: ")]
    read = [words for words in told if words.startswith("reading sst a.nc, to know it by its content: ")]
    assert fetched + read == told
    for words in (fetched, read):
        assert re.search(r": 1\.0 MiB of 3\.0 MiB, .*/s, .* s to go$", words[0])
        assert re.search(r": 3\.0 MiB of 3\.0 MiB, .*/s, 0\.0 s to go$", words[-1])
    told.clear()
    identified(served.url, tmp_path, told.append)
    assert not [words for words in told if words.startswith("fetching")], "it is there"


def test_a_server_that_tells_only_times_is_asked_by_these(served: Served, tmp_path: Path) -> None:
    served.etag, served.modified = "", "Wed, 25 Nov 2026 08:00:00 GMT"
    first = identified(served.url, tmp_path)
    assert identified(served.url, tmp_path) == first
    assert served.codes == [200, 304]


def test_what_is_there_now_counts_and_what_was_there_stays(served: Served, tmp_path: Path) -> None:
    first = identified(served.url, tmp_path)
    served.data, served.etag = grid(tmp_path, 5), '"two"'
    second = identified(served.url, tmp_path)
    assert second.sha256 == hashlib.sha256(served.data).hexdigest() != first.sha256
    first.check()
    second.check()


def test_a_server_that_tells_nothing_is_read_each_time_and_disturbs_no_run(served: Served, tmp_path: Path) -> None:
    served.etag = ""
    first = identified(served.url, tmp_path)
    assert identified(served.url, tmp_path) == first, "the file is the same one"
    assert served.codes == [200, 200]


def test_what_was_cut_short_on_its_way_is_not_kept(served: Served, tmp_path: Path) -> None:
    served.cut = 100
    with pytest.raises(BadInput, match=r"sst%20a\.nc\?version=1 cannot be fetched \(.*\): look whether it can be"):
        identified(served.url, tmp_path)
    assert [path for path in (tmp_path / "fetched").rglob("*") if path.is_file()] == []


def test_what_is_not_there_is_told_as_the_server_tells_it(served: Served, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be fetched: the server says 404 Not Found"):
        identified(served.url.replace("data", "lost"), tmp_path)


def test_without_the_server_the_file_that_was_fetched_is_named(served: Served, tmp_path: Path) -> None:
    there = identified(served.url, tmp_path)
    served.server.shutdown()
    served.server.server_close()
    with pytest.raises(BadInput, match=r"what was fetched of it before is .*/sst a\.nc: name that file to do without"):
        identified(served.url, tmp_path)
    assert identified(there.path, tmp_path).sha256 == there.sha256


def test_a_fetched_file_that_was_altered_is_named(served: Served, tmp_path: Path) -> None:
    there = Path(identified(served.url, tmp_path).path)
    there.write_bytes(grid(tmp_path, 7))
    with pytest.raises(BadInput, match=r"sst a\.nc is not as it was fetched from http.*: remove it and run again"):
        identified(served.url, tmp_path)


def test_a_login_in_a_url_is_used_and_never_kept(served: Served, tmp_path: Path) -> None:
    there = identified(served.url.replace("http://", "http://anna:hunter2secret@"), tmp_path)
    assert "hunter2secret" not in there.url
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"hunter2secret" in path.read_bytes()]
    assert kept == []
