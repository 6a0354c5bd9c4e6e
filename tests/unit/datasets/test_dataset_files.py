from __future__ import annotations

import os

import pytest

from pytest_evalrun.datasets.protocol import Reader, Sample
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.layers import DATASET_CONFIG, TASK_CONFIG, Layer

ODD = ["a b.png", "it's.png", "$(touch x).png", "任务.png", "x" * 200 + ".png", 'quo"te.png']


def write(root, *names, text=None):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name if text is None else text)


def ids(reader):
    return [sample.id for sample in reader]


def test_every_visible_file_is_a_sample_in_the_order_of_its_name(tmp_path, read):
    """Ids are relative paths with their extension; hidden files are none; the order is sorted."""
    write(tmp_path, "b.png", "a.png", "sub/c.png", ".hidden", ".git/config")
    reader = read(tmp_path)
    assert isinstance(reader, Reader)
    assert list(reader) == [Sample(i, n, tmp_path / n) for i, n in enumerate(["a.png", "b.png", "sub/c.png"])]


STATES = ["mine.state", "mine.complete.state", "mine.state.old", "mine.complete.state.old"]


@pytest.mark.parametrize("words", [{}, {"in_subdir": "in"}], ids=["beside the inputs", "above them"])
def test_the_state_that_a_program_keeps_beside_its_data_is_no_sample(tmp_path, read, hashes, words):
    """By the name that RUN_STATE_NAME says, and put aside: else what a script says of a pair would change its data."""
    inputs = tmp_path / words.get("in_subdir", "")
    write(inputs, "a.png", "mine.statement", "other.state")
    before = read(tmp_path, env={"RUN_STATE_NAME": "mine"}, **words).identity(hashes)
    write(tmp_path, *STATES)
    reader = read(tmp_path, env={"RUN_STATE_NAME": "/anywhere/mine"}, **words)
    assert ids(reader) == ["a.png", "mine.statement", "other.state"]
    assert reader.identity(hashes) == before


def test_odd_names(tmp_path, read, hashes):
    """Spaces, quotes, shell syntax, Chinese and 200 characters are names like others."""
    write(tmp_path / "in", *ODD)
    write(
        tmp_path, "labels.csv", text="file,label\n" + "".join(f'"{n.replace(chr(34), chr(34) * 2)}",1\n' for n in ODD)
    )
    reader = read(tmp_path, in_subdir="in", labels="labels.csv")
    assert reader.identity(hashes).count == len(ODD)
    assert ids(reader) == sorted(ODD)


def test_several_files_of_one_stem_are_one_sample(tmp_path, read, hashes):
    """With suffixes the stem is the id, and the input maps each suffix, in their order, to its file."""
    write(tmp_path, "1_y.bin", "1_uv.bin", "2_y.bin", "2_uv.bin", "readme.txt")
    reader = read(tmp_path, suffixes=("_y.bin", "_uv.bin"))
    assert reader.identity(hashes).count == 2
    assert list(reader)[1] == Sample(1, "2", {"_y.bin": tmp_path / "2_y.bin", "_uv.bin": tmp_path / "2_uv.bin"})


REFERENCES = {
    "one of the suffixes": ((".png", ".raw"), ["1.png"], "1.png"),
    "each of them": (("_y.bin", "_uv.bin"), ["1_y.bin", "1_uv.bin"], {"_y.bin": "1_y.bin", "_uv.bin": "1_uv.bin"}),
    "the only suffix": (("_y.bin",), ["1_y.bin", "1_uv.bin"], "1_y.bin"),
    "another ending": ((".raw",), ["1.png"], "1.png"),
    "one of two endings": ((".raw",), ["1.raw", "1.png"], "1.raw"),
}


@pytest.mark.parametrize(("suffixes", "names", "found"), REFERENCES.values(), ids=REFERENCES)
def test_references_of_items_with_suffixes(tmp_path, read, hashes, suffixes, names, found):
    """A reference is the file of the stem with one of the suffixes, several as the input has them, or any ending."""
    write(tmp_path / "in", *(f"1{suffix}" for suffix in suffixes))
    write(tmp_path / "gold", *names)
    reader = read(tmp_path, in_subdir="in", references="gold", suffixes=suffixes)
    gold = tmp_path / "gold"
    parts = {suffix: gold / name for suffix, name in found.items()} if isinstance(found, dict) else gold / found
    assert [sample.reference for sample in reader] == [parts]
    before = reader.identity(hashes).references
    (gold / names[0]).write_text("other labels")
    assert reader.identity(hashes).references != before


def test_one_suffix_selects_files(tmp_path, read):
    """A single suffix gives a plain path."""
    write(tmp_path, "1.png", "1.txt")
    assert list(read(tmp_path, suffixes=(".png",))) == [Sample(0, "1", tmp_path / "1.png")]


def test_the_longest_suffix_claims_a_file(tmp_path, read):
    """`_y.bin` is not taken for a `.bin`."""
    write(tmp_path, "1.bin", "1_y.bin")
    assert ids(read(tmp_path, suffixes=(".bin", "_y.bin"))) == ["1"]


def test_labels_match_with_or_without_extension(tmp_path, read, hashes):
    """Rows of other samples are passed over; a label is the text that the table says."""
    write(tmp_path / "in", "a.png", "b.png", "c.d.png")
    write(tmp_path, "labels.csv", text="label,id\ncat,a\n7,b.png\n07,c.d\nx,unknown\n\n")
    reader = read(tmp_path, in_subdir="in", labels="labels.csv")
    assert reader.identity(hashes).count == 3
    assert [s.reference for s in reader] == ["cat", "7", "07"]


def test_labels_among_the_inputs_are_no_sample(tmp_path, read):
    """labels.csv and the references lie beside the inputs without being read as such."""
    write(tmp_path, "a.png", "gold/a.png")
    write(tmp_path, "labels.csv", text="id,label\na,1\n")
    assert ids(read(tmp_path, labels="labels.csv", references="gold")) == ["a.png"]


def test_stems_of_suffixes_meet_labels_with_extension(tmp_path, read):
    """A table that names files labels samples that are named by stem."""
    write(tmp_path, "1.png")
    write(tmp_path, "l.csv", text="name,class\n1.png,3\n")
    reader = read(tmp_path, suffixes=(".png",), labels="l.csv", reader={"id": "name", "label": "class"})
    assert [s.reference for s in reader] == ["3"]


@pytest.mark.parametrize(
    ("name", "text", "reader", "label"),
    [
        pytest.param("l.tsv", "id\tlabel\na\tcat, dog\n", {}, "cat, dog", id="tab-of-a-tsv"),
        pytest.param("l.csv", "id;label\na;1,5\n", {"delimiter": ";"}, "1,5", id="semicolon-by-name"),
        pytest.param("l.tsv", "id,label\na,b\tc\n", {"delimiter": ","}, "b\tc", id="named-beats-suffix"),
        pytest.param("l.csv", "id,label\na,7\n", {"types": {"label": "integer"}}, 7, id="integer"),
        pytest.param("l.csv", "id,class\na,True\n", {"label": "class", "types": {"class": "boolean"}}, True, id="bool"),
        pytest.param("l.csv", "id,label\na," + "x" * 200_000 + "\n", {}, "x" * 200_000, id="long-cell"),
    ],
)
def test_a_table_of_labels_is_read_as_any_other(tmp_path, read, hashes, name, text, reader, label):
    """Delimiter, types and the length of a cell are what they are for a dataset in CSV."""
    write(tmp_path, "in/a.png")
    write(tmp_path, name, text=text)
    samples = read(tmp_path, in_subdir="in", labels=name, reader=reader)
    assert samples.identity(hashes).count == 1
    assert [s.reference for s in samples] == [label]


def test_parallel_references_have_the_same_name_or_stem(tmp_path, read, hashes):
    """A reference directory answers with a path; extensions may differ."""
    write(tmp_path, "in/a.png", "in/s/b.png", "gold/a.png", "gold/s/b.jpg", "gold/unused.png")
    reader = read(tmp_path, in_subdir="in", references="gold")
    assert reader.identity(hashes).count == 2
    assert [s.reference for s in reader] == [tmp_path / "gold/a.png", tmp_path / "gold/s/b.jpg"]


def labelled(text):
    return {"labels": "labels.csv"}, {"in/a.png": "", "in/b.png": "", "labels.csv": text}


FAULTS = {
    "empty": ({}, {"in/.keep": ""}, "the dataset is empty: it holds no file"),
    "no file of the suffix": ({"suffixes": (".bin",)}, {"in/a": ""}, "the dataset is empty: no file ends in .bin"),
    "suffix missing": ({"suffixes": ("_y", "_uv")}, {"in/1_y": ""}, "1_uv is missing; suffixes: _y, _uv"),
    "label missing": (*labelled("id,label\na,1\n"), "label missing for the sample 'b.png'"),
    "labels missing": (*labelled("id,label\n"), "label missing for the sample 'a.png' and 1 more"),
    "label empty": (*labelled("id,label\na,1\nb,\n"), ":3: label missing for the sample 'b.png'"),
    "two labels": (*labelled("id,label\na,1\nb,1\na.png,1\n"), "two samples with the id 'a.png': lines 2 and 4"),
    "no such table": ({"labels": "none.csv"}, {"in/a": ""}, "none.csv: labels missing: there is no such file"),
    "no label column": (*labelled("id,class\na,1\n"), ":1: no column 'label'; columns: id, class"),
    "column twice": (*labelled("id,label,label\na,1,2\n"), ":1: two columns are called 'label'"),
    "another delimiter": (
        *labelled("id;label\na;1\n"),
        ":1: no column 'id or file'; columns: id;label (the delimiter is ','; another by reader: {delimiter: ...})",
    ),
    "no number": (
        {"labels": "labels.csv", "reader": {"types": {"label": "number"}}},
        {"in/a.png": "", "labels.csv": "id,label\na,x\n"},
        "labels.csv:2: label: found 'x'; accepted: a number such as 7, 0.5 or 1e3",
    ),
    "blank number": (
        {"labels": "labels.csv", "reader": {"types": {"label": "number"}}},
        {"in/a.png": "", "labels.csv": "id,label\na, \n"},
        "labels.csv:2: label missing for the sample 'a.png'",
    ),
    "types of no column": (
        {"labels": "labels.csv", "reader": {"types": {"lable": "number"}}},
        {"in/a.png": "", "labels.csv": "id,label\na,x\n"},
        "labels.csv:1: reader.types: no column 'lable'; columns: id, label",
    ),
    "delimiter of two": (
        {"labels": "labels.csv", "reader": {"delimiter": ";;"}},
        {"in/a.png": "", "labels.csv": "id,label\na,x\n"},
        "reader: delimiter is ';;'; accepted: one character",
    ),
    "no id column": (*labelled("name,label\na,1\n"), "no column 'id or file'"),
    "short row": (*labelled("id,label\na\n"), ":2: the row has 1 columns, the header 2"),
    "broken table": (*labelled('id,label\n"a\n'), "labels cannot be read"),
    "ambiguous": ({"labels": "l"}, {"in/a.png": "", "in/a.jpg": "", "l": "id,label\na,1\n"}, "write the extension"),
    "reference missing": (
        {"references": "gold"},
        {"in/a.png": "", "gold/b.png": ""},
        "no reference for the sample 'a.",
    ),
    "no reference directory": ({"references": "gold"}, {"in/a.png": ""}, "the directory cannot be read: No such file"),
    "a table": (
        {"in_subdir": "in/t.csv"},
        {"in/t.csv": "id,label"},
        "t.csv: not a directory of files; set format: csv",
    ),
    "no input directory": ({"in_subdir": "typo"}, {"in/a.png": ""}, "the directory cannot be read: No such file"),
    "reader key": ({"reader": {"ids": "x"}}, {"in/a": ""}, "unknown key ids for format files; accepted: delimiter,"),
}


@pytest.mark.parametrize(("settings", "tree", "message"), FAULTS.values(), ids=FAULTS)
def test_bad_datasets_are_told_by_name(tmp_path, read, hashes, settings, tree, message):
    """What cannot be evaluated names the sample, the file and the line."""
    for name, text in tree.items():
        write(tmp_path, name, text=text)
    with pytest.raises(PairError) as caught:
        read(tmp_path, **{"in_subdir": "in", **settings}).identity(hashes)
    assert message in str(caught.value)


def test_links(tmp_path, read):
    """Links to files and directories are followed, a circle ends, and a link to nothing is told."""
    write(tmp_path, "real/a.png", "in/b.png")
    (tmp_path / "in/linked").symlink_to(tmp_path / "real")
    (tmp_path / "in/circle").symlink_to(tmp_path / "in")
    assert ids(read(tmp_path, in_subdir="in")) == ["b.png", "linked/a.png"]
    (tmp_path / "in/dangling").symlink_to(tmp_path / "nothing")
    with pytest.raises(PairError, match=r"dangling: a link to .*nothing, which is missing"):
        ids(read(tmp_path, in_subdir="in"))


def test_a_name_that_is_not_utf8_is_refused(tmp_path, read):
    """It could be written into no file of ours."""
    try:
        (tmp_path / os.fsdecode(b"\xff.png")).write_text("")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(PairError, match="is not UTF-8"):
        ids(read(tmp_path))


def test_new_labels_do_not_change_the_inputs(tmp_path, read, hashes):
    """Only the references' digest moves when labels.csv changes, only the inputs' when a file does."""
    settings, tree = labelled("id,label\na,1\nb,1\n")

    def identity():
        return read(tmp_path, in_subdir="in", **settings).identity(hashes)

    for name, text in tree.items():
        write(tmp_path, name, text=text)
    first = identity()
    write(tmp_path, "labels.csv", text="id,label\na,1\nb,2\n")
    second = identity()
    write(tmp_path, "in/a.png", text="other")
    third = identity()
    assert first.inputs == second.inputs != third.inputs
    assert first.references != second.references == third.references


def test_identity_knows_which_column_is_the_label(tmp_path, read, hashes):
    """The same table read by another column, or as another kind of value, is another set of references."""
    write(tmp_path, "in/a.png")
    write(tmp_path, "l.csv", text="id,label,fine\na,1,2\n")
    options = ({}, {"label": "fine"}, {"types": {"label": "integer"}})
    tables = [read(tmp_path, in_subdir="in", labels="l.csv", reader=reader) for reader in options]
    assert len({table.identity(hashes).references for table in tables}) == 3


def test_without_references_there_is_no_digest(tmp_path, read, hashes):
    """An unlabelled dataset can be predicted."""
    write(tmp_path, "a")
    identity = read(tmp_path).identity(hashes)
    assert (identity.references, identity.count) == ("", 1)
    assert identity.inputs == hashes.tree(tmp_path, ["a"])


@pytest.mark.parametrize("kind_of_data", ["files", "./reader.py:Reader"])
@pytest.mark.parametrize("kind", [DATASET_CONFIG, TASK_CONFIG])
def test_inputs_that_a_run_config_names_in_vain_are_told_with_its_line(tmp_path, read, kind, kind_of_data):
    """File, line, key, what was looked for; a reader of the user's is not even asked."""
    layer = Layer(kind, "evals/a/.run_config", {"in_subdir": "nope"}, {"in_subdir": 3})
    with pytest.raises(PairError) as caught:
        read(tmp_path, format=kind_of_data, in_subdir="nope", origins={"in_subdir": layer})
    told = (
        f"evals/a/.run_config:3: IN_SUBDIR: found 'nope', which is no directory of the dataset; looked for {tmp_path}"
    )
    assert str(caught.value) == f"{told}/nope"
