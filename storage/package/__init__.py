"""Packages: a sealed product in ZIP64 files that only store, written once and read in place."""

from terp.storage.package.packing import Member, Packed, pack, read_directory
from terp.storage.package.table import pack_product

__all__ = ["Member", "Packed", "pack", "pack_product", "read_directory"]
