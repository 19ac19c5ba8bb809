"""Where the result rests: shards, ledger, products, provenance, packages and the archive."""

if __name__ != "terp.storage":  # a second name would make a second copy of every class
    raise ImportError(f"import terp.storage, not {__name__}")
