"""A second form of what is packed, for those who do not read Zarr: written beside it, and proven to hold the same."""

from terp.storage.form.migration import FORMS, second_form

__all__ = ["FORMS", "second_form"]
