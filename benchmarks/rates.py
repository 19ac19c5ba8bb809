"""What benchmarks share: what may be asked of them, and how they tell what they found."""

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

type Seconds = dict[str, dict[str, list[float]]]  # by peer and by what was done, one for each round


def run(doc: str | None, shard_bytes: int, against: str, measure: Callable[[int, int, Path], Seconds]) -> None:
    """Measure as asked for on the command line; print GB/s with ratios to one of the peers, or JSON."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="terp-bench-", dir=os.environ.get("TERP_BENCH")) as place:
        found = measure(asked.shards, asked.rounds, Path(place))
    size = asked.shards * shard_bytes / 1e9
    rates = {peer: {what: size / statistics.median(one) for what, one in took.items()} for peer, took in found.items()}
    if asked.json:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        print(json.dumps({"machine": machine, "gigabytes": size, "seconds": found, "gb_per_s": rates}, indent=1))
        return
    print(f"{size:.2f} GB of float32, medians of {asked.rounds} interleaved rounds, GB/s (ratio to {against})")
    for peer, rate in rates.items():
        base = {**dict.fromkeys(rate, rates[against]["write"]), **rates[against]}
        print(f"{peer:20} {'  '.join(f'{what} {rate[what]:5.2f} ({rate[what] / base[what]:.2f})' for what in rate)}")
