"""What may be said of a variable that leaves, where others of its object are closed: a list of what is safe.

An attribute that is not on the list stays behind: valid_min or actual_range tell of values that are not sent, history
and comment of anything. What is on it stays behind too when it names what is closed.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

GLOBAL = frozenset({"Conventions", "featureType"})
VARIABLE = frozenset(
    {
        *("standard_name", "long_name", "units", "calendar", "axis", "positive", "cell_methods", "_FillValue"),
        *("missing_value", "scale_factor", "add_offset", "flag_values", "flag_masks", "flag_meanings", "_Unsigned"),
        *("grid_mapping_name", "semi_major_axis", "semi_minor_axis", "inverse_flattening", "earth_radius"),
        *("latitude_of_projection_origin", "longitude_of_projection_origin", "longitude_of_central_meridian"),
        *("longitude_of_prime_meridian", "false_easting", "false_northing", "standard_parallel", "crs_wkt"),
        *("straight_vertical_longitude_from_pole", "scale_factor_at_central_meridian"),
        *("scale_factor_at_projection_origin", "grid_north_pole_latitude", "grid_north_pole_longitude"),
        *("north_pole_grid_longitude", "perspective_point_height", "sweep_angle_axis", "reference_ellipsoid_name"),
    }
)
REFERENCES = frozenset({"coordinates", "ancillary_variables", "bounds", "grid_mapping", "climatology"})
_WORD = re.compile(r"\w+")
_TELLING = 4  # letters of a name from which it is looked for anywhere: x and id are words of all texts


def attributes(
    said: Mapping[str, Any], safe: Collection[str], kept: Collection[str], closed: Collection[str]
) -> dict[str, Any]:
    """Return the attributes that may leave with a variable or a group.

    `kept` are names of what leaves, `closed` of what does not. References name what leaves alone.
    """
    found = {name: value for name, value in said.items() if name in safe and not mentions(value, closed)}
    for name in REFERENCES & said.keys():
        words = [word for word in str(said[name]).split() if word in kept]
        if words and (safe is not GLOBAL):
            found[name] = " ".join(words)
    return found


def mentions(value: Any, closed: Collection[str]) -> bool:
    """Say whether a text has the name of something closed as a word, or as a part of one."""
    if isinstance(value, list | tuple):
        return any(mentions(one, closed) for one in value)
    text = str(value).casefold()
    words = set(_WORD.findall(text))
    return any(name in words or (len(name) >= _TELLING and name in text) for name in map(str.casefold, closed))


def telling(closed: Collection[str]) -> list[str]:
    """Return the names of what is closed that are long enough to be looked for in anything."""
    return sorted(name for name in closed if len(name) >= _TELLING)
