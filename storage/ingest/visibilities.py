"""Radio interferometer visibilities: UVFITS, UVH5 and MeasurementSet v2, under the names of MSv4.

Names, dimensions and measure attributes are those of the Measurement Set version 4 schema (xradio, 4.0.0): one group
a spectral window, `spw_0`, `spw_1` (where a file holds several fields, one a window and field: `spw_0_field_1`), and
`antenna_xds` beside them. pyuvdata reads the bytes, and gives all three formats one sign: `UVW` points from antenna 1
to antenna 2, and a point source of flux S at direction cosines (l, m) is VISIBILITY = S exp(+2 pi i (u l + v m)).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from terp.storage.errors import BadInput
from terp.storage.ingest.uvfile import format_of, load

NAME = "visibilities"
CUT = ("time",)

_SCHEMA = "4.0.0"
_UNIX = 2440587.5  # the Julian date of 1970-01-01
_CODES = (1, 2, 3, 4, -1, -2, -3, -4, -5, -6, -7, -8)  # of AIPS memo 117
_STOKES = dict(zip(_CODES, ["I", "Q", "U", "V", "RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX"], strict=True))


def recognise(path: Path) -> bool:
    """Whether `path` holds visibilities, by its content."""
    return format_of(path) is not None


def read(path: Path) -> dict[str, xr.Dataset]:
    """The visibilities in `path`, a Dataset a spectral window, and the antennas.

    A window has VISIBILITY (complex64), WEIGHT (float32), FLAG (bool) of (time, baseline_id, frequency, polarization),
    UVW (metres) and EFFECTIVE_INTEGRATION_TIME (s). A baseline that was not observed at a time is flagged, with
    visibility and weight 0; so is a visibility that is not a number.

    Raises BadInput for a file that is damaged, empty, flagged all over, or has what MSv4 can't say.
    """
    observed = load(path)
    groups: dict[str, xr.Dataset] = {}
    fields = np.unique(observed.phase_center_id_array)
    for window in range(observed.Nspws):
        for number, field in enumerate(fields):
            name = f"spw_{window}" if len(fields) == 1 else f"spw_{window}_field_{number}"
            part = _part(path, observed, window, int(field))
            if part:
                groups[name] = xr.Dataset(_measurements(part), _coordinates(part), _attributes(path, part))
    if all(data.FLAG.all() for data in groups.values()):
        raise BadInput(f"{path} holds no visibility that is not flagged: nothing can be made of it.")
    return groups | {"antenna_xds": _antennas(observed)}


@dataclass(frozen=True)
class _Part:
    """One spectral window of one field: which rows and channels of the file it is, and where each row belongs."""

    observed: Any
    window: int
    channels: NDArray[np.int64]
    rows: NDArray[np.int64]
    times: NDArray[np.float64]
    baselines: NDArray[np.int64]
    place: tuple[NDArray[np.int64], NDArray[np.int64]]

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """The part's own of an array (row, channel, polarization)."""
        return values[np.ix_(self.rows, self.channels)]

    def laid(self, values: NDArray[Any], empty: object, dtype: Any) -> NDArray[Any]:
        """Rows laid out as (time, baseline), `empty` where there is none."""
        whole = np.full((len(self.times), len(self.baselines), *values.shape[1:]), empty, dtype)
        whole[self.place] = values
        return whole

    @property
    def centre(self) -> dict[str, Any]:
        """What the file says of the direction that the part follows."""
        entry: dict[str, Any] = self.observed.phase_center_catalog[self.observed.phase_center_id_array[self.rows[0]]]
        return entry

    @property
    def frame(self) -> str:
        """The frame of that direction, "altaz" for a drift scan."""
        return str(self.centre["cat_frame"] or "altaz")


def _part(path: Path, observed: Any, window: int, field: int) -> _Part | None:
    """The part of a window and a field, or None where the file has no rows for it."""
    channels = np.flatnonzero(observed.flex_spw_id_array == observed.spw_array[window])
    there = ~observed.flag_array[:, channels].all((1, 2)) | observed.data_array[:, channels].any((1, 2))
    rows = np.flatnonzero((observed.phase_center_id_array == field) & there)
    if not rows.size:
        return None
    times, at_time = np.unique(observed.time_array[rows], return_inverse=True)
    pairs = np.stack([observed.ant_1_array[rows], observed.ant_2_array[rows]], axis=1)
    baselines, at_baseline = np.unique(pairs, axis=0, return_inverse=True)
    if len(np.unique(at_time * len(baselines) + at_baseline)) < len(rows):
        raise BadInput(f"{path} has a baseline twice at one time: split its subarrays into files of their own.")
    return _Part(observed, window, channels, rows, times, baselines, (at_time, at_baseline))


def _measurements(part: _Part) -> dict[str, tuple[Any, ...]]:
    observed, cell = part.observed, ("time", "baseline_id", "frequency", "polarization")
    visibility = part.of(observed.data_array)
    sound = np.isfinite(visibility)
    flag = part.of(observed.flag_array) | ~sound
    uvw = {"type": "uvw", "units": "m", "frame": part.frame}
    units, seconds = {"units": str(observed.vis_units)}, {"type": "quantity", "units": "s"}
    spent = part.laid(observed.integration_time[part.rows], 0, np.float64)
    return {
        "VISIBILITY": (cell, part.laid(np.where(sound, visibility, 0), 0, np.complex64), units),
        "WEIGHT": (cell, part.laid(part.of(observed.nsample_array), 0, np.float32)),
        "FLAG": (cell, part.laid(flag, True, np.bool_)),
        "UVW": (("time", "baseline_id", "uvw_label"), part.laid(observed.uvw_array[part.rows], 0, np.float64), uvw),
        "EFFECTIVE_INTEGRATION_TIME": (("time", "baseline_id"), spent, seconds),
    }


def _coordinates(part: _Part) -> dict[str, Any]:
    observed = part.observed
    name = dict(zip(observed.telescope.antenna_numbers, _names(observed), strict=True))
    scans = np.zeros(len(part.times), np.int64)
    if observed.scan_number_array is not None:
        scans[part.place[0]] = observed.scan_number_array[part.rows]
    return {
        "time": ("time", (part.times - _UNIX) * 86400.0, _clock(part)),
        "baseline_id": np.arange(len(part.baselines)),
        "baseline_antenna1_name": ("baseline_id", [name[first] for first, _ in part.baselines]),
        "baseline_antenna2_name": ("baseline_id", [name[second] for _, second in part.baselines]),
        "frequency": ("frequency", observed.freq_array[part.channels].astype(np.float64), _spectrum(part)),
        "polarization": [_STOKES[int(code)] for code in observed.polarization_array],
        "uvw_label": ["u", "v", "w"],
        "field_name": ("time", np.full(len(part.times), str(part.centre["cat_name"]))),
        "scan_name": ("time", scans.astype(str)),
    }


def _clock(part: _Part) -> dict[str, Any]:
    nominal = float(np.median(part.observed.integration_time[part.rows]))
    clock = {"type": "time", "units": "s", "scale": "utc", "format": "unix"}
    return clock | {"integration_time": _measure(nominal, "quantity", "s")}


def _spectrum(part: _Part) -> dict[str, Any]:
    first = part.channels[0]
    reference, width = float(part.observed.freq_array[first]), float(abs(part.observed.channel_width[first]))
    return {
        "type": "spectral_coord",
        "units": "Hz",
        "observer": "TOPO",
        "spectral_window_name": f"spw_{part.window}",
        "reference_frequency": _measure(reference, "spectral_coord", "Hz", observer="TOPO"),
        "channel_width": _measure(width, "quantity", "Hz"),
    }


def _attributes(path: Path, part: _Part) -> dict[str, Any]:
    """MSv4's, but for the creation date, which would make another product of the same bytes."""
    centre, column = part.centre, part.observed.extra_keywords.get("DATA_COL", "DATA")
    if centre["cat_type"] in ("ephem", "near_field"):
        raise BadInput(f"{path} follows {centre['cat_name']}, which moves: only fixed directions can be read.")
    direction = [float(centre["cat_lon"]), float(centre["cat_lat"])]
    group = {"correlated_data": "VISIBILITY", "flag": "FLAG", "weight": "WEIGHT", "uvw": "UVW"}
    return {
        "type": "visibility",
        "schema_version": _SCHEMA,
        "data_groups": {"base": group | {"description": f"{column} of the source"}},
        "field_and_source_base_xds": {
            "field_name": str(centre["cat_name"]),
            "FIELD_PHASE_CENTER_DIRECTION": _measure(direction, "sky_coord", "rad", frame=part.frame),
        },
    }


def _measure(value: float | list[float], kind: str, units: str, **more: str) -> dict[str, Any]:
    """A value with its unit and frame as an attribute, in the dictionary form that MSv4 uses."""
    dims = ["sky_dir_label"] if isinstance(value, list) else []
    return {"data": value, "dims": dims, "attrs": {"type": kind, "units": units, **more}}


def _names(observed: Any) -> list[str]:
    return [str(name).strip() for name in observed.telescope.antenna_names]


def _antennas(observed: Any) -> xr.Dataset:
    """Names and places (m, geocentric) of the antennas: coordinates only, for they are few and never cut."""
    telescope = observed.telescope
    centre = np.array([axis.to_value("m") for axis in telescope.location.to_geocentric()])
    location = {"type": "location", "units": "m", "frame": "ITRS", "coordinate_system": "geocentric"}
    return xr.Dataset(
        coords={
            "antenna_name": _names(observed),
            "cartesian_pos_label": ["x", "y", "z"],
            "ANTENNA_POSITION": (
                ("antenna_name", "cartesian_pos_label"),
                np.asarray(telescope.antenna_positions, np.float64) + centre,
                location,
            ),
        },
        attrs={"type": "antenna", "overall_telescope_name": str(telescope.name)},
    )
