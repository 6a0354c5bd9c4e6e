"""Datasets of Hugging Face: a directory on this machine, or a name on the hub at a pinned revision.

No code of a dataset is ever run: from version 4 on the library knows none.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_evalrun.datasets.columns import ColumnsReader, Part, needed, rows_at_once
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

# hf://openai/gsm8k, as other tools write it hf://datasets/openai/gsm8k.
_NAME = re.compile(r"hf://(?:datasets/)?([\w.-]+(?:/[\w.-]+)?)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What `save_to_disk` leaves: of one split, of several.
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"

log = logging.getLogger(__name__)


class HfReader(ColumnsReader):
    """What ``load_dataset`` or ``load_from_disk`` gives. ``reader`` has ``config``, ``split`` and ``revision``."""

    accepted: ClassVar[frozenset[str]] = frozenset({"config", "split", "revision"})

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        super().__init__(dataset, settings)
        self._library = needed(settings.format, "datasets")
        self._config = _word("config", settings.reader, dataset.name)
        self._split = _word("split", settings.reader, dataset.name)
        self._revision = _word("revision", settings.reader, dataset.name)
        found = _NAME.fullmatch(dataset.path)
        self._name = found[1] if found else None
        if self._name is not None:
            self._check_revision(self._name, dataset.name)

    @cached_property
    def data(self) -> Any:
        """The split, mapped into memory from files of HF's own cache or of the directory."""
        with _plainly(self.where):
            if self._name is not None:
                return self._of_hub(self._name)
            if not self.path.is_dir():
                raise PairError(
                    f"{self.where}: no directory; accepted: a directory, or hf://OWNER/NAME; files alone are read by "
                    "format: parquet, jsonl or csv"
                )
            if (self.path / _SAVED).is_file():
                return self._chosen(self._library.load_from_disk(self.where))
            if (self.path / _SAVED_SPLITS).is_file():
                return self._one_of(self._library.load_from_disk(self.where))
            return self._one_of(self._library.load_dataset(self.where, self._config))

    def kind(self) -> list[Any]:
        return ["hf"]

    def remembered(self, hashes: Hashes, kind: str) -> dict[str, Any]:
        files = sorted(file["filename"] for file in self.data.cache_files)
        if not files:
            return self.measure()
        root = os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120 - text
        content = hashes.tree(Path(root), [os.path.relpath(file, root) for file in files])
        return hashes.derived(Path(files[0]), f"{kind} {content}", self.measure)

    def size(self) -> int:
        return int(self.data.data.nbytes)

    def parts(self) -> Iterator[Part]:
        data = self.data
        columns = data.select_columns(self.wanted(self.where, data.column_names)).with_format("arrow")
        at_once = rows_at_once(len(data), self.size())
        yield Part(self.where, columns.features.arrow_schema, columns.iter(at_once))

    def _check_revision(self, name: str, entry: str) -> None:
        if self._revision is None or not _COMMIT.fullmatch(self._revision):
            found = "no revision" if self._revision is None else f"revision {self._revision!r}"
            raise PairError(
                f"dataset {entry}: reader: found {found}; accepted: the 40 digits of a commit of {name}, so that the "
                "data never change unseen. Today's is printed by: python -c 'from huggingface_hub import HfApi; "
                f'print(HfApi().dataset_info("{name}").sha)\''
            )
        if self._split is None:
            raise PairError(f"dataset {entry}: reader: found no split; accepted: one of {name}, such as test")

    def _of_hub(self, name: str) -> Any:
        """From HF's cache, which is asked for this very commit; else from the hub, which fills it."""
        at = f"{name} at {self._revision}"
        if (cached := self._of_cache(name)) is not None:
            log.info("%s: found in the cache, the hub was not asked", at)
            return self._one_of(cached)
        log.info("%s: not in the cache, the hub is asked", at)
        data = self._one_of(self._library.load_dataset(name, self._config, revision=self._revision))
        # Where the hub does not answer, the library takes what the cache has last, whatever commit was asked for.
        if any(Path(file["filename"]).parent.name != self._revision for file in data.cache_files):
            raise ConnectionError(f"the hub did not answer, and the cache has other commits than {self._revision}")
        return data

    def _of_cache(self, name: str) -> Any:
        from datasets.naming import camelcase_to_snakecase
        from datasets.packaged_modules.cache.cache import Cache

        *owner, short = name.split("/")
        root = Path(self._library.config.HF_DATASETS_CACHE, "___".join([*owner, camelcase_to_snakecase(short)]))
        found = list(Path(root, self._config or "default").glob(f"*/{self._revision}"))
        if len(found) != 1:
            return None
        config, version = found[0].parent.parent.name, found[0].parent.name
        return Cache(
            dataset_name=short, repo_id=name, config_name=config, version=version, hash=self._revision
        ).as_dataset()

    def _chosen(self, data: Any) -> Any:
        """The only split that was saved."""
        if self._split is not None and self._split != str(data.split):
            raise PairError(f"{self.where}: reader: split is {self._split!r}; the directory holds {data.split} alone")
        return data

    def _one_of(self, splits: Any) -> Any:
        if self._split is None and len(splits) == 1:
            return next(iter(splits.values()))
        if self._split not in splits:
            names = ", ".join(splits)
            raise PairError(f"{self.where}: reader: split is {self._split!r}; accepted: one of {names}")
        return splits[self._split]


def _word(key: str, options: Any, name: str) -> str | None:
    value = options.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise PairError(f"dataset {name}: reader: {key} is {value!r}; accepted: a text, in quotes if need be")
    return value


@contextmanager
def _plainly(where: str) -> Iterator[None]:
    """Without progress bars, and with whatever goes wrong told of the dataset."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    except PairError:
        raise
    except Exception as error:  # the library and all that it calls raise what they like
        remedy = ""
        if where.startswith("hf://"):
            remedy = (
                "; is the name right, the hub reachable, HF_HUB_OFFLINE unset, and HF_TOKEN set where a licence was "
                "accepted? A copy in a directory works the same: `path: data/NAME`"
            )
        raise PairError(f"{where}: cannot be loaded: {type(error).__name__}: {error}{remedy}") from error
    finally:
        if shown:
            datasets.enable_progress_bars()
