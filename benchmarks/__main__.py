"""`make bench`: the headline benchmarks, each beside the loop by hand and the peers, interleaved round by round."""

import argparse
import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import bandwidth, environments, machine, report
from benchmarks.harness import Asked, measure_row
from benchmarks.job import STEP
from benchmarks.rows import LONG, ROWS, chosen, load

GIB, ROUNDS = 0.25, 1  # minutes on two cores


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default=",".join("abcdefgh"), help=f"as a,c,e1; {', '.join(LONG)} only by name")
    parser.add_argument("--gib", type=float, default=GIB, help=f"size of the data, a multiple of {STEP} (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="each candidate once a round (%(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="a candidate; again for more (default: all)")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a candidate has failed")
    parser.add_argument("--place", type=Path, default=environments.CACHE, help="where the data are, while they are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the results (default: .bench/results-COMMIT.json)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them, as SVG or PNG (default: beside them)")
    parser.add_argument("--prepare", action="store_true", help="make the environments of the peers, and run nothing")
    parser.add_argument("--show", type=Path, metavar="FILE", help="tell and draw results of before, and run nothing")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="tell ratios, and run nothing")
    asked = parser.parse_args()
    try:
        asked.rows = chosen(asked.rows)
    except KeyError as error:
        parser.error(f"--rows has {error}; they are {', '.join(ROWS)}")
    if asked.gib <= 0 or asked.gib % STEP or asked.rounds < 1:
        parser.error(f"--gib is a multiple of {STEP}, --rounds 1 or more")
    known = {name for letter in asked.rows for name in load(letter).candidates}
    if not set(asked.only or ()) <= known:
        parser.error(f"--only is one of {'; '.join(sorted(known))}")
    return asked


def peers(letter: str, only: list[str] | None) -> list[str]:
    """Return the environments that the candidates of a row need beside terp's own."""
    every = load(letter).candidates.items()
    return sorted({one.peer for name, one in every if one.peer and (not only or name in only)})


def prepare(asked: argparse.Namespace) -> None:
    """Make environments while there is a network; what fails is said, and is the candidate's failure later."""
    for peer in sorted({peer for letter in asked.rows for peer in peers(letter, asked.only)}):
        try:
            print(f"{peer}: {environments.python(peer)}")
        except environments.Missing as error:
            print(f"{peer}: FAILED: {error}", file=sys.stderr)


def measure(asked: argparse.Namespace) -> report.Results:
    """Measure all rows that were asked for; the results are written after each."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that candidates are ended and data removed
    asked.place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rows-", dir=asked.place) as folder:
        settings = Asked(Path(folder).resolve(), asked.gib, asked.rounds, asked.limit, asked.only)
        facts, rates = machine.facts(), bandwidth.measure(settings.place / "bandwidth")
        results: dict[str, Any] = {"machine": facts, "bandwidth": asdict(rates), "gib": asked.gib}
        results |= {"rounds": asked.rounds, "rows": {}}
        for letter in asked.rows:
            row = measure_row(letter, settings, rates)
            pinned = {peer: machine.chosen(environments.versions(peer)) for peer in peers(letter, asked.only)}
            results["rows"][letter] = {**row, "versions": pinned}
            asked.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def main() -> None:
    asked = arguments()
    if asked.compare:
        print(report.comparison(*(json.loads(path.read_text()) for path in asked.compare)))
        return
    if asked.prepare:
        prepare(asked)
        return
    if asked.show:
        results = json.loads(asked.show.read_text())
    else:
        asked.json = asked.json or environments.CACHE / f"results-{machine.commit()}.json"
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.plot = asked.plot or asked.json.with_suffix(".svg")
        results = measure(asked)
    print(report.table(results))
    if asked.plot:
        report.plot(results, asked.plot)
        print(f"\ndrawn in {asked.plot}" + ("" if asked.show else f", kept in {asked.json}"))


if __name__ == "__main__":
    main()
