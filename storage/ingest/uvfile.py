"""Files of visibilities, opened by pyuvdata: without a network, and whatever their damage, in words.

pyuvdata is a well-kept reader with three habits that are undone here: it asks a server where telescopes stand, it knows
frames only in small letters, and it leaves out spectral windows of one channel.
"""

import contextlib
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from terp.storage.errors import BadInput, StorageError

_BLOCK = 2880  # bytes that FITS comes in
_alone = threading.Lock()  # astropy's settings and casacore are one a process


def format_of(path: Path) -> str | None:
    """Return "uvfits", "uvh5" or "ms", by the content; None for anything else. Never raises."""
    try:
        if path.is_dir():
            is_set = b"measurement set" in (path / "table.info").read_bytes()[:4096].lower()
            return "ms" if is_set and (path / "table.dat").is_file() else None
        with path.open("rb") as file:
            head = file.read(10 * _BLOCK)
    except OSError:
        return None
    if head.startswith(b"SIMPLE  ="):
        cards = [head[at : at + 80] for at in range(0, len(head), 80)]
        return "uvfits" if any(card[:30].split() == [b"GROUPS", b"=", b"T"] for card in cards) else None
    return "uvh5" if head.startswith(b"\x89HDF\r\n\x1a\n") and _is_uvh5(path) else None


def _is_uvh5(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path) as file:
            return "Header" in file and "Data" in file
    except (OSError, RuntimeError):
        return False


def load(path: Path) -> Any:
    """Return the file as a UVData, baselines from the lower to the higher antenna; BadInput if it can't be."""
    kind = _sound_format(path)
    try:
        from pyuvdata import UVData

        with offline() as folder:
            observed, source = UVData(), _small_frame(path, folder) if kind == "uvfits" else path
            observed.read(str(source), file_type=kind, run_check=False, background_lsts=False, **_options(path, kind))
            observed.conjugate_bls("ant1<ant2")
    except ImportError as missing:
        raise StorageError(f"{path} needs {missing.name}, of the radio extra: install terp[radio].") from missing
    except Exception as trouble:  # damaged bytes make these libraries raise anything
        raise BadInput(f"{path} cannot be read as {kind} ({trouble}): copy it again from its source.") from trouble
    if not observed.data_array.size:
        raise BadInput(f"{path} holds no visibilities.")
    return observed


def _sound_format(path: Path) -> str:
    kind = format_of(path)
    if kind is None:
        raise BadInput(f"{path} is not UVFITS, UVH5 or a MeasurementSet: give a file that is, or convert it.")
    if kind == "uvfits" and path.stat().st_size % _BLOCK:
        raise BadInput(f"{path} is cut short (FITS comes in blocks of {_BLOCK} bytes): copy it again from its source.")
    return kind


def _small_frame(path: Path, folder: Path) -> Path:
    """The file, or a copy with its frame in small letters: pyuvdata takes 'icrs', but not FITS's own 'ICRS'."""
    with path.open("rb") as file:
        frame = re.search(rb"RADESYSA? *= '([A-Z0-9]+) *'", file.read(10 * _BLOCK))
    if not frame:
        return path
    copy = folder / "small.uvfits"
    shutil.copyfile(path, copy)
    with copy.open("r+b") as file:
        file.seek(frame.start(1))
        file.write(frame[1].lower())
    return copy


def _options(path: Path, kind: str) -> dict[str, Any]:
    if kind != "ms":
        return {"fix_autos": False}
    from casacore.tables import table

    with table(str(path), ack=False) as main:
        calibrated = "CORRECTED_DATA" in main.colnames()
    column = "CORRECTED_DATA" if calibrated else "DATA"
    return {"fix_autos": False, "ignore_single_chan": False, "data_column": column}


@contextlib.contextmanager
def offline() -> Iterator[Path]:
    """Keep astropy from the network, in a folder of its own: what is read may not depend on a list on a server.

    pyuvdata asks it for the place of a telescope; an empty list makes it take the place from the file.
    """
    from astropy.config import set_temp_cache
    from astropy.utils import iers
    from astropy.utils.data import conf, import_file_to_cache

    with (
        _alone,
        tempfile.TemporaryDirectory() as name,
        warnings.catch_warnings(),
        set_temp_cache(name),
        conf.set_temp("allow_internet", False),
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        warnings.simplefilter("ignore")  # about antenna positions and sidereal times, which are not used
        sites = Path(name, "sites.json")
        sites.write_text("{}")
        import_file_to_cache(f"{conf.dataurl}coordinates/sites.json", str(sites))
        yield Path(name)
