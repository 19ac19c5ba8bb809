"""The columns of KNMI's daily files, and what each of their codes means in CF. Source: the header of the files."""

from dataclasses import dataclass
from math import nan


@dataclass(frozen=True)
class Column:
    """One column: the value in `units` is the number in the file divided by `per_unit`."""

    long_name: str
    units: str
    per_unit: float = 1
    standard_name: str = ""
    cell_methods: str = ""

    def attrs(self) -> dict[str, str]:
        """CF attributes."""
        known = {"standard_name": self.standard_name, "long_name": self.long_name, "units": self.units}
        return {name: text for name, text in (known | {"cell_methods": self.cell_methods}).items() if text}


@dataclass(frozen=True)
class Flag:
    """A code that is no number: it becomes `value`, and the flag <column>_<word> is true there."""

    code: int
    value: float
    word: str
    meaning: str


def _hour(of: str) -> Column:
    return Column(f"hour (UT, 1 is 00-01) in which {of} was measured", "1")


_AIR, _WIND, _GUST = "air_temperature", "wind_speed", "wind_speed_of_gust"
_RAIN, _SEA, _MOIST = "lwe_thickness_of_precipitation_amount", "air_pressure_at_mean_sea_level", "relative_humidity"
_MEAN, _MOST, _LEAST, _SUM = "time: mean", "time: maximum", "time: minimum", "time: sum"
_SIGHT = (
    "as a code: n up to 49 is n to n+1 times 100 m; 50 is 5-6 km; n from 56 to 79 is n-50 to n-49 km; "
    "80 is 30-35 km, and so on in steps of 5 km; 89 is over 70 km"
)

COLUMNS = {
    "DDVEC": Column("vector mean wind direction", "degree", 1, "wind_from_direction", _MEAN),
    "FHVEC": Column("vector mean wind speed", "m s-1", 10, _WIND, _MEAN),
    "FG": Column("daily mean wind speed", "m s-1", 10, _WIND, _MEAN),
    "FHX": Column("highest hourly mean wind speed", "m s-1", 10, _WIND, _MOST),
    "FHXH": _hour("FHX"),
    "FHN": Column("lowest hourly mean wind speed", "m s-1", 10, _WIND, _LEAST),
    "FHNH": _hour("FHN"),
    "FXX": Column("strongest wind gust", "m s-1", 10, _GUST, _MOST),
    "FXXH": _hour("FXX"),
    "TG": Column("daily mean temperature", "degC", 10, _AIR, _MEAN),
    "TN": Column("lowest temperature", "degC", 10, _AIR, _LEAST),
    "TNH": _hour("TN"),
    "TX": Column("highest temperature", "degC", 10, _AIR, _MOST),
    "TXH": _hour("TX"),
    "T10N": Column("lowest temperature 10 cm above the surface", "degC", 10, _AIR, _LEAST),
    "T10NH": Column("six hours (ending at this hour UT) in which T10N was measured", "1"),
    "SQ": Column("duration of sunshine", "h", 10, "duration_of_sunshine", _SUM),
    "SP": Column("sunshine as part of the longest possible", "%"),
    "Q": Column(
        "global radiation", "J cm-2", 1, "integral_wrt_time_of_surface_downwelling_shortwave_flux_in_air", _SUM
    ),
    "DR": Column("duration of precipitation", "h", 10, "", _SUM),
    "RH": Column("precipitation", "mm", 10, _RAIN, _SUM),
    "RHX": Column("highest hourly precipitation", "mm", 10, _RAIN, _MOST),
    "RHXH": _hour("RHX"),
    "PG": Column("daily mean pressure at sea level", "hPa", 10, _SEA, _MEAN),
    "PX": Column("highest hourly pressure at sea level", "hPa", 10, _SEA, _MOST),
    "PXH": _hour("PX"),
    "PN": Column("lowest hourly pressure at sea level", "hPa", 10, _SEA, _LEAST),
    "PNH": _hour("PN"),
    "VVN": Column(f"least visibility, {_SIGHT}", "1"),
    "VVNH": _hour("VVN"),
    "VVX": Column(f"greatest visibility, {_SIGHT}", "1"),
    "VVXH": _hour("VVX"),
    "NG": Column("daily mean cloud cover in eighths", "0.125", 1, "cloud_area_fraction", _MEAN),
    "UG": Column("daily mean relative humidity", "%", 1, _MOIST, _MEAN),
    "UX": Column("highest relative humidity", "%", 1, _MOIST, _MOST),
    "UXH": _hour("UX"),
    "UN": Column("lowest relative humidity", "%", 1, _MOIST, _LEAST),
    "UNH": _hour("UN"),
    "EV24": Column("reference crop evaporation (Makkink)", "mm", 10, "", _SUM),
}
STATION_COLUMNS = ("STN", "YYYYMMDD", *COLUMNS)

_TRACE = (Flag(-1, 0, "trace", "there was some, less than 0.05 of the unit: the value is 0"),)
FLAGS = {
    "RH": _TRACE,
    "RHX": _TRACE,
    "SQ": _TRACE,
    "DDVEC": (Flag(0, nan, "calm", "calm or variable wind: there is no direction"),),
    "NG": (Flag(9, nan, "obscured", "the sky could not be seen: there is no cloud cover"),),
}
