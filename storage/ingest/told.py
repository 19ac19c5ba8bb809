"""Under which terms a source may be used, as it tells itself: by an attribute of its own, or by what it came out of.

A file tells its licence as ACDD 1.3 has it (attribute `license`). What lies in an archived object, in a bag of one or
in a dissemination copy, unpacked or not, is under the decision beside it: what was made from it is made from that too.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terp.storage.archive.policy import FREE, POLICY, Policy
from terp.storage.errors import BadPolicy

_SUMS, _COPY = "SHA512SUMS", "dip.json"
_MOST = 16 << 20  # bytes of a text that is looked into
_LONGEST = 1000  # letters of a licence
_HEADS = {"zarr.json": "attributes", ".zattrs": ""}


@dataclass(frozen=True)
class Told:
    """The licence ("" where it tells none), and why it is not open to all ("" where nothing says so)."""

    licence: str = ""
    closed: str = ""


def told_of(source: Path, reader: str) -> Told:
    """Return what a source tells of its terms; what cannot be read tells nothing."""
    for folder in (source.parent, source.parent.parent):
        listed = _listed(folder)
        inside = source.relative_to(folder).parts[0]
        if {inside, f"{inside}.zip"} & listed.keys():
            return _decided(folder, listed) or _copied(folder, listed) or Told(_attribute(source, reader))
    return Told(_attribute(source, reader))


def _listed(folder: Path) -> Mapping[str, str]:
    lines = (line.partition("  ") for line in (_text(folder / _SUMS) or b"").decode(errors="replace").splitlines())
    return {name: digest for digest, _, name in lines}


def _text(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes() if path.stat().st_size <= _MOST else None
    return None


def _beside(folder: Path, listed: Mapping[str, str], name: str) -> bytes | None:
    """Return a file of a folder if it is the one that the folder's checksums tell of."""
    data = _text(folder / name) if name in listed else None
    return data if data is not None and hashlib.sha512(data).hexdigest() == listed[name] else None


def _decided(folder: Path, listed: Mapping[str, str]) -> Told | None:
    data = _beside(folder, listed, POLICY)
    if data is None:
        return None
    with suppress(BadPolicy):
        policy = Policy.parse(data)
        decision, others = policy.decision, policy.rights.third_parties
        why = [str(decision.openness)] if decision.openness == "private unless" else []
        why += [one.grond for one in policy.beperkingGebruik if one.type != FREE]
        why += [f"rights of {one}" for one in others]
        by = f", decided by {decision.by} on {decision.on}"
        return Told(policy.rights.licence, "; ".join(why) + by if why else "")
    return None


def _copied(folder: Path, listed: Mapping[str, str]) -> Told | None:
    data = _beside(folder, listed, _COPY)
    with suppress(ValueError, KeyError, TypeError):
        plain = json.loads(data or b"")
        profile = str(plain["profile"])
        return Told(str(plain["licence"]["url"]), "" if profile == "public" else f"a copy of the profile {profile}")
    return None


def _attribute(source: Path, reader: str) -> str:
    attributes = {"zarr": _of_zarr, "netcdf": _of_netcdf}.get(reader, lambda _: {})(source)
    told = attributes.get("license") or attributes.get("licence") or ""
    return told.strip()[:_LONGEST] if isinstance(told, str) else ""


def _of_zarr(source: Path) -> dict[str, Any]:
    for name, within in _HEADS.items():
        with suppress(ValueError, TypeError, AttributeError, KeyError):
            plain = json.loads(_text(source / name) or b"")
            return dict(plain[within] if within else plain)
    return {}


def _of_netcdf(source: Path) -> dict[str, Any]:
    import xarray as xr

    from terp.storage.ingest.netcdf import BROKEN

    with suppress(*BROKEN), xr.open_dataset(source, engine="netcdf4", decode_cf=False, cache=False) as found:
        return dict(found.attrs)
    return {}
