"""What a model answers, as JSON: scalars converted, images saved, files named with size and hash."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import SampleError
from pytest_evalrun.programs.commands import program_of
from pytest_evalrun.rundir.aside import OLD, was_evaluated
from pytest_evalrun.rundir.layout import WorkDir, paths_of
from pytest_evalrun.rundir.markers import facts_of
from pytest_evalrun.rundir.predictions import file_of, named_file, plain
from pytest_evalrun.suite.jsontext import MOST_LEVELS
from pytest_evalrun.suite.names import nested

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.pairs import Pair, PairKey

LONGEST_NAME = 100  # bytes


def output_directory(pair: Pair, paths: PairPaths) -> Path:
    """Where the files go that the model writes: in the run, or where ``out_subdir`` says.

    A leading ``.`` means under the suite, an absolute path is taken as it is, and both get ``task/dataset`` below, a
    task of two levels as two directories; any other name is a directory in the dataset.
    """
    wanted = pair.settings.out_subdir
    if not wanted:
        return paths.outputs
    if wanted.startswith(("/", ".")):
        return _unified(Path(pair.root, wanted), pair, paths.key)
    return Path(pair.dataset.path, wanted)


def _unified(top: Path, pair: Pair, key: PairKey) -> Path:
    """Where an older version has put the files of a task of two levels into one directory, they are found there."""
    place = top.joinpath(*nested(pair.task.name), key.dataset)
    if "/" not in pair.task.name or place.exists():
        return place
    older = top / key.task / key.dataset
    return older if older.is_dir() else place


def batch_directory(pair: Pair, paths: PairPaths) -> Path:
    """Where a program that is started once a batch writes: tables of two shards at a time must not be one file."""
    whole = output_directory(pair, paths)
    return whole if not pair.is_shard or program_of(pair.settings).results.get("files") else whole / f".{pair.label}"


def output_directories(run: RunPaths, suites: Iterable[Suite]) -> list[str]:
    """All output directories outside the run, for its manifest."""
    pairs = [pair for suite in suites for pair in suite.pairs]
    elsewhere = [pair for pair in pairs if any(layer.values.get("out_subdir") for layer in pair.layers)]
    return sorted({str(output_directory(pair, paths_of(run, pair))) for pair in elsewhere})


def own_places(pair: Pair, paths: PairPaths) -> tuple[Path, ...]:
    """List where the pair's model may keep a state of its own on this machine: beside its output, or its data."""
    dataset = Path(pair.dataset.path)
    places = output_directory(pair, paths), dataset if dataset.is_dir() else dataset.parent
    return places if pair.settings.kind.keeps_state else ()


def put_own_state_aside(pair: Pair, paths: PairPaths, *, fresh: bool) -> None:
    """Before a pair is evaluated anew: a script with a state file of its own would say that everything is done.

    Where no run beside this one ever evaluated the pair, what lies there is the user's, and stays, unless he wants it
    ``fresh``.
    """
    name, places = pair.settings.own_state, own_places(pair, paths)
    if name and places and (fresh or was_evaluated(WorkDir(paths.run.parent), paths.key)):
        from pytest_evalrun.programs.watching import put_aside

        put_aside(name, places, OLD)


class Outputs:
    """The output directory of one pair; made when the first file is written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def to_json(self, prediction: Any, sample: Sample, part: str = "", level: int = 0) -> Any:
        """The prediction in builtins. Raises SampleError for NaN and for what JSON cannot hold.

        ``part`` is the way from the whole answer to this part of it, which lies in ``level`` others.
        """
        if isinstance(prediction, str | int | None):  # bool is an int
            return prediction
        if isinstance(prediction, float):
            return _finite(float(prediction), sample)
        if isinstance(prediction, Path):
            return self._file(prediction)
        return self._compound(prediction, sample, part, level)

    def _compound(self, prediction: Any, sample: Sample, part: str, level: int) -> Any:
        inner = level + 1
        if inner >= MOST_LEVELS - 1:  # what cannot be read back is not written: a line is a level, and a file's name
            raise SampleError(f"sample {sample.id}: the model answered what is nested too deeply")
        if isinstance(prediction, dict):
            values = {
                str(key): self.to_json(value, sample, f"{part}.{key}", inner) for key, value in prediction.items()
            }
            return plain(values)
        if isinstance(prediction, list | tuple):
            return [self.to_json(value, sample, f"{part}.{place}", inner) for place, value in enumerate(prediction)]
        if hasattr(prediction, "ndim") and hasattr(prediction, "tolist"):
            return self._array(prediction, sample, part)
        raise SampleError(
            f"sample {sample.id}: the model answered {type(prediction).__name__}, which cannot be kept; accepted: "
            "str, int, float, bool, None, lists and dicts of them, an image array, the Path of a file"
        )

    def _array(self, array: Any, sample: Sample, part: str) -> Any:
        if array.ndim < 2:
            return self.to_json(array.tolist(), sample, part)
        from pytest_evalrun.datasets.images import write_image

        self.directory.mkdir(parents=True, exist_ok=True)
        return self._file(write_image(self.directory / _image_name(sample.id, part), array))

    def _file(self, path: Path) -> dict[str, Any]:
        """Relative to the output directory where it lies inside, so that a moved run still finds it."""
        facts = facts_of(path)
        place, here = (Path(os.path.normpath(each.absolute())) for each in (path, self.directory))
        name = place.relative_to(here) if place.is_relative_to(here) else place
        return named_file(str(name), facts["size"], facts["sha256"])

    def from_json(self, prediction: Any) -> Any:
        """What a metric gets to see: files as absolute paths."""
        name = file_of(prediction)
        return prediction if name is None else self.directory / name

    def hold(self, prediction: Any) -> bool:
        """Whether the files that a stored prediction names are still what the model wrote."""
        if (name := file_of(prediction)) is not None:
            return self._unchanged(self.directory / name, prediction)
        parts = prediction.values() if isinstance(prediction, dict) else prediction
        return not isinstance(prediction, dict | list) or all(map(self.hold, parts))

    @staticmethod
    def _unchanged(path: Path, named: dict[str, Any]) -> bool:
        try:
            return path.stat().st_size == named["size"] and bool(facts_of(path)["sha256"] == named["sha256"])
        except (OSError, ValueError):
            return False


def reference_to_json(reference: Any, dataset: str) -> Any:
    """A reference as a prediction line shows it; files relative to their dataset."""
    if isinstance(reference, dict):
        return {name: reference_to_json(part, dataset) for name, part in reference.items()}
    if isinstance(reference, Path):
        return str(reference.relative_to(dataset)) if reference.is_relative_to(dataset) else str(reference)
    return reference


def _image_name(sample_id: str, part: str) -> str:
    """Without its ending: the sample's id where that is a file name; else a hash tells apart what one would not."""
    stem = sample_id.removesuffix(".png")
    encoded = f"{stem}{part}".encode(errors="surrogateescape")
    if part or "/" in stem or len(encoded) > LONGEST_NAME:
        digest = hashlib.sha256(f"{sample_id}\0{part}".encode(errors="surrogateescape")).hexdigest()[:12]
        stem = encoded[:LONGEST_NAME].decode(errors="ignore").replace("/", "_") + f"-{digest}"
    return stem


def _finite(value: float, sample: Sample) -> float:
    if math.isfinite(value):
        return value
    raise SampleError(f"sample {sample.id}: the model answered {value}")
