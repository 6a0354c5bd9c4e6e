"""Clean: what the run has made goes, and nothing else, wherever names and links would lead."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from pytest_evalrun.control import opendirectory
from pytest_evalrun.control.clean import clean, plan_clean
from pytest_evalrun.control.reset import plan_reset, reset
from pytest_evalrun.control.selection import selected
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.predictions import named_file
from pytest_evalrun.rundir.runs import read_run_json

# What predictions hold of a file that a model wrote.
NAMED = named_file("b/c.png", 5, "0" * 64)


def do(found, matches=None):
    plan = plan_clean(found, selected(found.paths, matches) if matches else None)
    clean(found, plan)
    return plan


def lines(found):
    return list(plan_clean(found, None).lines(found))


@pytest.fixture
def wrote(place, put):
    """Runs whose models wrote beside the suite."""

    def wrote(name="20261121_103015", tasks=("a", "b"), **more):
        directories = [place.suite / ".res" / task / "one" for task in tasks]
        for directory in directories:
            put(directory / "image.png", "png")
        return place.run(name, directories=[*map(str, directories), *more.get("also", [])])

    return wrote


def test_all_of_it_leaves_the_tree_as_it_was(wrote, place, put, tree_of):
    """With the last run the work directory goes too; .skip files and sources never."""
    put(place.suite / "a" / ".skip", "not now")
    before = tree_of(place.root)
    del before["outputs/default/.gitignore"]
    found = wrote()
    for name in ("history.jsonl", "hashes.db", "hashes.db-wal"):
        put(place.workdir / name, "x")
    do(found)
    assert tree_of(place.root) == before
    assert not place.workdir.exists()
    assert not (place.suite / ".res").exists()


def test_another_run_keeps_what_is_its_own(wrote, place, put):
    """Its directory, the history of both, and the outputs that both wrote to."""
    first = wrote("20261120_000000", tasks=("a",))
    second = wrote("20261121_000000")
    put(place.workdir / "history.jsonl", "x")
    told = lines(second)
    assert any(line.endswith(".res/a/one  stays: run 20261120_000000 wrote there too") for line in told), told
    do(second)
    assert sorted(path.name for path in place.workdir.iterdir()) == [".gitignore", "20261120_000000", "history.jsonl"]
    assert (place.suite / ".res/a/one/image.png").exists()
    assert not (place.suite / ".res/b").exists()
    do(first)
    assert not place.workdir.exists()
    assert not (place.suite / ".res").exists()


def test_what_a_user_put_into_the_run_stays(wrote, place, put):
    """And is named."""
    found = wrote()
    put(found.paths.root / "notes.txt", "why this run matters")
    assert any(line.endswith("notes.txt  stays: it is no file of a run") for line in lines(found))
    do(found)
    assert [path.name for path in found.paths.root.iterdir()] == ["notes.txt"]


def test_what_a_user_put_among_the_outputs_stays(wrote, place, put):
    """Only what predictions name goes: not notes, nor a file that somebody has written over since, nor links."""
    found = wrote()
    there = place.suite / ".res/a/one"
    put(there / "notes.txt", "older than the run")
    put(there / "deep/image.png", "png")
    (there / "image.png").write_text("mine now")
    (there / "link").symlink_to(place.suite / "one.jsonl")
    told = [line for line in lines(found) if ".res" in line]
    assert told[0].endswith(
        ".res/a/one  stays: 4 files that no prediction of the run names: deep/image.png, image.png, link, notes.txt"
    )
    assert told[1].endswith(".res/b/one  1 file, 3 bytes")
    do(found)
    assert sorted(path.name for path in there.iterdir()) == ["deep", "image.png", "link", "notes.txt"]
    assert not (place.suite / ".res/b").exists()


OWN = {
    "in a list": ("predictions/s/a/one.jsonl", {"mask": [NAMED, 3]}),
    "put aside": ("predictions/s/a/one.jsonl.stale", NAMED),
    "of a shard": ("predictions/s/a/one/0-250.jsonl", NAMED),
    "of a limit": ("predictions/s/a/one.limit-8.jsonl", NAMED),
}


@pytest.mark.parametrize(("predictions", "answer"), OWN.values(), ids=OWN)
def test_every_file_that_the_run_names_is_its_own(wrote, place, put, predictions, answer):
    """Wherever in a prediction, and of which predictions; directories that are empty then go too."""
    found = wrote(tasks=("a",))
    put(found.paths.predictions / "s/a/one.limit-8.fingerprint.json", "{}")
    put(found.paths.root / predictions, json.dumps({"prediction": answer}, separators=(",", ":")) + "\ntorn")
    put(place.suite / ".res/a/one/b/c.png", "12345")
    (place.suite / ".res/a/one/empty/dir").mkdir(parents=True)
    if "limit" not in predictions:
        put(place.suite / ".res/a/one/image.png", "png")
    do(found)
    left = list((place.suite / ".res").glob("**/*.*"))
    assert [path.name for path in left] == ([] if Path(predictions).name != "one.jsonl" else ["image.png"])


def test_tables_of_programs_are_theirs(wrote, place, put):
    """A range names the files that were accepted; older ones were renamed, as what the user had there was."""
    found = wrote(tasks=("a",))
    table = put(place.suite / ".res/a/one/rows.csv", "id,answer\n")
    older = put(table.with_name("rows.csv.stale"), "id,answer\n")
    theirs = put(table.with_name("mine.csv.stale"), "id,answer\n")
    os.utime(theirs, (1, 1))
    args = {"low": 0, "high": 2, "status": "completed", "positions": [0, 2], "began": older.stat().st_mtime}
    args["files"] = [str(table), str(theirs).removesuffix(".stale")]
    put(found.paths.root / "shards/s/a/one/worker_args_0_2.json", json.dumps(args))
    do(found)
    assert list((place.suite / ".res").glob("**/*.*")) == [theirs]


@pytest.mark.parametrize("name", ["dir1/deep", "dir1_deep"])
def test_outputs_of_a_task_of_two_levels_are_cleaned(wrote, place, put, name):
    """In two directories, and in the one where older versions have put them."""
    suite = json.loads((place.suite / "evalrun.yaml").read_text())
    suite["models"].append({"name": "dir1/deep"})
    (place.suite / "evalrun.yaml").write_text(json.dumps(suite))
    there = place.suite / ".res" / name / "one"
    put(there / "image.png", "png")
    found = wrote(tasks=("a",), also=[str(there)])
    place.pair(found.paths, "s", "dir1/deep", "one")
    do(found, lambda full_id: full_id == "s/dir1/deep/one")
    assert [path.name for path in (place.suite / ".res").iterdir()] == ["a"]


def test_one_pair_takes_all_of_its_own_and_no_more(wrote, place, put, tree_of):
    """Old and stale files too; a pair whose name begins alike keeps everything."""
    found = wrote()
    place.pair(found.paths, "s", "a", "one.b")
    for name in (
        "predictions/s/a/one.jsonl.old",
        "predictions/s/a/one.fingerprint.json.stale",
        "outputs/s/a/one.old/x",
        "logs/infer/s/a/one/0-250.log",
        "predictions/s/a/one/0-250.jsonl",
        "agents/s/a/one/runs.jsonl",
        "agents/s/a/one.stale/overall.json",
        "agents/s/a/one.b/runs.jsonl",
    ):
        put(found.paths.root / name, "x")
    before = tree_of(place.root)
    do(found, lambda full_id: full_id == "s/a/one")
    after = tree_of(place.root)
    kept = {name for name in before if "s/a/one" not in name or "s/a/one.b" in name} - {"evals/.res/a/one/image.png"}
    assert set(after) - {"outputs/default/20261121_103015/failed_tasks.txt"} == kept
    assert after["outputs/default/20261121_103015/.task_list"].startswith("*s/a|psnr|1\n-one|0\n*s/b||1\n-one|3\n")


def test_a_clean_that_was_killed_can_be_started_again(wrote, place, monkeypatch):
    """What says which directories are the run's goes last."""
    found = wrote()

    real, left = opendirectory.OpenDirectory.remove, [8]

    def remove(self, name):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return real(self, name)

    monkeypatch.setattr(opendirectory.OpenDirectory, "remove", remove)
    with pytest.raises(KeyboardInterrupt):
        do(found)
    assert found.paths.run_json.exists()
    do(found)
    assert not place.workdir.exists()


class TestTraps:
    """What a manifest or a file system could lead a clean to."""

    @pytest.mark.parametrize("where", ["", "evals", "evals/one.jsonl", "..", "outputs/default", "/", "/tmp", "~"])
    def test_directories_that_hold_more_than_outputs_stay(self, place, tree_of, where):
        """The suite, its data, the run, a home, the root: whatever the manifest says."""
        directory = Path(where).expanduser() if where[:1] in ("/", "~") else place.root / where
        found = place.run(directories=[str(directory)])
        before = tree_of(place.suite)
        told = [line for line in lines(found) if "stays" in line]
        assert len(told) == 1, told
        do(found)
        assert tree_of(place.suite) == before
        assert directory.exists() or where == "outputs/default"

    def test_the_data_of_a_dataset_stays(self, place, put, tree_of):
        """A directory for outputs that is the very directory of the inputs."""
        suite = json.loads((place.suite / "evalrun.yaml").read_text())
        del suite["models"], suite["datasets"], suite["inputs"], suite["reference"]
        suite |= {"format": "files", "discover": {"model_file_ext": ".bin", "in_subdir": "images"}}
        suite |= {"references": "labels", "out_subdir": "images"}
        (place.suite / "evalrun.yaml").write_text(json.dumps(suite))
        put(place.suite / "a/model.bin", "w")
        put(place.suite / "a/one/images/x.png", "png")
        put(place.suite / "a/one/labels/x.png", "png")
        put(place.suite / "a/one/out/image.png", "png")
        found = place.run(directories=[str(place.suite / f"a/one/{name}") for name in ("images", "labels", "out")])
        before = tree_of(place.suite)
        do(found, lambda full_id: full_id == "s/a/one")
        assert set(before) - set(tree_of(place.suite)) == {"a/one/out/image.png"}

    def test_a_link_where_the_outputs_were_is_not_followed(self, wrote, place, put):
        """Neither at the end of the way nor on it."""
        precious = put(place.root / "precious" / "one" / "file", "mine")
        found = wrote()
        (place.suite / ".res/a/one/image.png").unlink()
        (place.suite / ".res/a/one").rmdir()
        (place.suite / ".res/a/one").symlink_to(precious.parent)
        (place.suite / ".res/b").rename(place.suite / "moved")
        (place.suite / ".res/b").symlink_to(precious.parent.parent)
        told = [line for line in lines(found) if "stays" in line]
        assert len(told) == 2, told
        do(found)
        assert precious.read_text() == "mine"
        assert (place.suite / ".res/a/one").is_symlink()

    def test_links_inside_are_removed_as_links(self, wrote, place, put):
        """In the run and in the outputs."""
        precious = put(place.root / "precious" / "file", "mine")
        found = wrote()
        (place.suite / ".res/a/one/link").symlink_to(precious.parent)
        (found.paths.root / "outputs/s/a/one/link").symlink_to(precious.parent)
        (found.paths.root / "summary").symlink_to(precious.parent)
        do(found)
        assert precious.read_text() == "mine"
        assert not place.workdir.exists()

    def test_a_run_that_is_a_link_is_refused(self, wrote, place):
        """Its target has a name of its own."""
        found = wrote()
        found.paths.root.rename(place.root / "elsewhere")
        found.paths.root.symlink_to(place.root / "elsewhere")
        with pytest.raises(ConfigError, match="it is a symbolic link"):
            do(found)

    def test_a_directory_that_only_looks_like_a_run_is_refused(self, place, put, tree_of):
        """run.json is a common name."""
        found = place.run()
        found.paths.run_json.write_text('{"format": 1}')
        before = tree_of(place.root)
        with pytest.raises(ConfigError, match="not written by a launch"):
            do(found)
        assert tree_of(place.root) == before

    def test_a_copied_run_takes_nothing_that_lies_beside_it(self, wrote, place, put):
        """There is no work directory around it."""
        found = wrote()
        elsewhere = place.root / "kept"
        elsewhere.mkdir()
        found.paths.root.rename(elsewhere / "copy")
        put(elsewhere / "history.jsonl", "of something else")
        from pytest_evalrun.report.runs import find_run

        copy = find_run(str(elsewhere / "copy"), place.workdir)
        do(copy)
        assert [path.name for path in elsewhere.iterdir()] == ["history.jsonl"]

    def test_a_suite_that_is_wrong_now_is_told_first(self, wrote, place):
        """Nobody can say what is data and what is output then."""
        found = wrote()
        (place.suite / "evalrun.yaml").write_text("metricks: [top1]\n")
        with pytest.raises(ConfigError, match="metricks"):
            do(found)
        assert read_run_json(found.paths)["format"] == 1

    def test_a_suite_that_is_gone_leaves_only_what_the_manifest_says(self, wrote, place):
        """Its outputs are outputs still."""
        found = wrote()
        for name in ("evalrun.yaml", "model.py", "one.jsonl"):
            (place.suite / name).unlink()
        do(found)
        assert not (place.suite / ".res/a/one").exists()


def test_an_absolute_place_for_outputs_is_cleaned_below_task_and_dataset(place, put):
    """What else lies there stays."""
    with tempfile.TemporaryDirectory() as top:
        there = Path(top, "all", "a", "one")
        put(there / "image.png", "png")
        put(Path(top, "all", "other.txt"), "mine")
        found = place.run(directories=[str(there)])
        do(found)
        assert os.listdir(Path(top, "all")) == ["other.txt"]  # noqa: PTH208


def test_sizes_are_told(wrote):
    """Of all that goes, and of nothing that stays."""
    found = wrote()
    found.paths.main_log.write_text("x" * 12_000)
    plan = plan_clean(found, None)
    assert plan.size.files == sum(size.files for size in (*plan.run.values(), *plan.work.values())) + 2
    assert plan.total.endswith(" files, 13 kB")


def limits(found):
    plan = plan_clean(found, selected(found.paths, None, limits=True))
    clean(found, plan)
    return plan


MERGED = json.dumps(
    {"pair": "", "signature": "", "bytes": 2, "remarks": [], "merged": "summary/s_a_one.limit-8_merged.csv"}
)


def test_results_of_a_limit_go_alone(wrote, place, put, tree_of):
    """With what lies beside the suite and in the summary of them; nothing of a whole pair, nor how it stands."""
    before = tree_of(wrote(tasks=("a",)).paths.root)
    found = wrote("20261122_000000", tasks=("a",), also=[str(place.suite / ".res/a/one.limit-8")])
    place.limited(found.paths, "a", 8)
    place.limited(found.paths, "b", 20)
    put(place.suite / ".res/a/one.limit-8/image.png", "png")
    put(found.paths.root / "shards/s/a/one.limit-8/merge_summary.json", MERGED)
    put(found.paths.summary / "s_a_one.limit-8_merged.csv", "id")
    put(found.paths.root / "state/s/b/one.limit-3.state", "")
    plan = limits(found)
    assert ".res/a/one.limit-8" in "\n".join(plan.lines(found))
    after = tree_of(found.paths.root)
    assert [name for name in after if "limit" in name] == []
    assert {name: text for name, text in after.items() if name != "run.json"} == {
        name: text for name, text in before.items() if name != "run.json"
    }
    assert (place.suite / ".res/a/one/image.png").exists()
    assert not (place.suite / ".res/a/one.limit-8").exists()
    assert not limits(found).run


def test_a_limit_is_cleaned_or_reset_without_its_pair(wrote, place):
    """By its name, how the pair stands is nobody's business; what failed of it is no pair that failed."""
    found = wrote()
    place.limited(found.paths, "a", 8, status="failed")
    before = found.paths.task_list.read_text()
    assert [pair.id for pair in selected(found.paths, None)] == ["a/one", "b/one", "a/one.limit-8"]
    assert [pair.id for pair in selected(found.paths, None, failed=True)] == ["b/one"]
    reset(found, plan_reset(found, selected(found.paths, lambda name: "limit" in name)))
    do(found, lambda name: "limit" in name)
    assert found.paths.task_list.read_text() == before
