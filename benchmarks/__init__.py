"""Benchmarks: each beside its peers and its physical limit, in one interleaved run."""
