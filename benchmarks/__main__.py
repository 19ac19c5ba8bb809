"""`make bench`: the headline benchmarks, each beside the loop by hand and the peers, interleaved round by round."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import environments, machine, report
from benchmarks.harness import measure_row
from benchmarks.job import STEP
from benchmarks.rows import ROWS, load


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help="letters, as a,c (default: %(default)s)")
    parser.add_argument("--gib", type=float, default=4, help=f"size of the data, a multiple of {STEP} (default: 4)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", metavar="NAME", help="a candidate; again for more (default: all)")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a candidate has failed")
    parser.add_argument("--place", type=Path, default=environments.CACHE, help="where the data are, while they are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them, as SVG or PNG")
    parser.add_argument("--show", type=Path, metavar="FILE", help="tell and draw results of before, and run nothing")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="tell ratios, and run nothing")
    asked = parser.parse_args()
    letters = asked.rows.split(",")
    if asked.gib <= 0 or asked.gib % STEP or not set(letters) <= ROWS.keys():
        parser.error(f"--gib is a multiple of {STEP}, --rows are of {', '.join(ROWS)}")
    known = {name for letter in letters for name in load(letter).candidates}
    if not set(asked.only or ()) <= known:
        parser.error(f"--only is one of {'; '.join(sorted(known))}")
    return asked


def measure(asked: argparse.Namespace) -> report.Results:
    """Measure all rows that were asked for; the results are written after each."""
    results: dict[str, Any] = {"machine": machine.facts(), "gib": asked.gib, "rounds": asked.rounds, "rows": {}}
    asked.place.mkdir(parents=True, exist_ok=True)
    for letter in asked.rows.split(","):
        with tempfile.TemporaryDirectory(prefix=f"{letter}-", dir=asked.place) as folder:
            row = measure_row(letter, asked.only, Path(folder).resolve(), asked.gib, asked.rounds, asked.limit)
        peers = {one["peer"] for one in row["candidates"].values() if one["peer"]}
        row["versions"] = {peer: machine.chosen(environments.versions(peer)) for peer in sorted(peers)}
        results["rows"][letter] = row
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def main() -> None:
    asked = arguments()
    if asked.compare:
        print(report.comparison(*(json.loads(path.read_text()) for path in asked.compare)))
        return
    results = json.loads(asked.show.read_text()) if asked.show else measure(asked)
    print(report.table(results))
    if asked.plot:
        report.plot(results, asked.plot)


if __name__ == "__main__":
    main()
