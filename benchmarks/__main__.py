"""Measures what the README promises, side by side, and prints one table: ``python -m benchmarks [--help]``."""

from __future__ import annotations

import argparse
import platform
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

from benchmarks import (
    agents,
    answers,
    collection,
    cost_per_pair,
    endpoints,
    engine_pairs,
    engines,
    inert,
    matrix,
    monitor,
    noop_pairs,
    notebook,
    one_pair,
    ordinary,
    programs,
    report,
    scheduling,
    scoring,
    slurm,
    ssh,
    view,
)
from benchmarks.harness import MODELS, Figure, Scale, Timed, write_suite

BENCHMARKS = {
    "agents": agents.measure,
    "answers": answers.measure,
    "noop_pairs": noop_pairs.measure,
    "collection": collection.measure,
    "cost_per_pair": cost_per_pair.measure,
    "endpoints": endpoints.measure,
    "engine_pairs": engine_pairs.measure,
    "engines": engines.measure,
    "inert": inert.measure,
    "matrix": matrix.measure,
    "monitor": monitor.measure,
    "notebook": notebook.measure,
    "one_pair": one_pair.measure,
    "ordinary": ordinary.measure,
    "programs": programs.measure,
    "report": report.measure,
    "scheduling": scheduling.measure,
    "scoring": scoring.measure,
    "slurm": slurm.measure,
    "ssh": ssh.measure,
    "view": view.measure,
}
ROW = "{:<72} {:>9} {:>9} {:>9} {:>10}  {:<9} {}"


def main() -> None:
    """Measure one benchmark after the other; a target missed is shown, not an error: machines differ."""
    names, scale = _arguments()
    if not entry_points(group="pytest11", name="evalrun"):
        raise SystemExit("the plugin is not installed in this environment; `make bench` sets one up")
    print(f"Python {platform.python_version()}, {platform.platform()}; {scale}")
    print(ROW.format("what", "ours", "theirs", "found", "processor", "target", ""))
    with tempfile.TemporaryDirectory(prefix="evalrun-bench-") as place:
        _warm_up(Path(place))
        for name in names:
            directory = Path(place) / name
            directory.mkdir()
            for figure in BENCHMARKS[name](scale, directory):
                print(_row(figure), flush=True)


def _arguments() -> tuple[list[str], Scale]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--pairs", type=int, default=Scale.pairs, help="pairs of the small suites; large have 10 times")
    parser.add_argument("--rounds", type=int, default=Scale.rounds, help="times that each command is run")
    parser.add_argument("--files", type=int, default=Scale.files, help="files of the large project without a suite")
    parser.add_argument("--peers", action="store_true", help="install Inspect AI and lm-eval, and let them ask, too")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown or given.pairs < 10 * MODELS or given.pairs % MODELS or given.rounds < 1:
        parser.error(f"unknown: {unknown}" if unknown else f"--pairs: a multiple of {MODELS} from {10 * MODELS}")
    return given.names or list(BENCHMARKS), Scale(given.pairs, given.rounds, given.files, given.peers)


def _warm_up(place: Path) -> None:
    """Fill the caches of bytecode and disk, so that the first command measured has no handicap."""
    Timed(write_suite(place / "warm-up", MODELS, 1), ("-n", "2"), pairs=MODELS).run()


def _row(figure: Figure) -> str:
    seconds = (f"{figure.ours:.2f} s", f"{figure.theirs:.2f} s")
    return ROW.format(
        figure.what, *seconds, figure.found, figure.processor, figure.target, "" if figure.held else "MISSED"
    )


if __name__ == "__main__":
    main()
