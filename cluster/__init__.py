"""Where it is computed: a laptop or a computing centre, reached through one Dask client."""

if __name__ != "terp.cluster":  # a second name would make a second copy of every class
    raise ImportError(f"import terp.cluster, not {__name__}")
