"""Every form is told by its content and read into the same examples."""
# ruff: noqa: E501  (a row of a table is a line)

import gzip
import json

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from scripts.common.cli import UserError
from scripts.data.formats import FORMATS, Notes, Options, detect, find_inputs, read_folder, read_input, read_raw

RECORDS = [
    {"text": 'A "quoted", text', "label": "sport"},
    {"text": "Zwölf Monkeys\nline two", "label": "film"},
    {"text": "plain", "label": "sport"},
]
EXPECTED = [(record["text"], (record["label"],)) for record in RECORDS]


def pairs(examples):
    return [(example.text, example.labels) for example in examples]


def read(path, notes=None, **options):
    return pairs(read_input(path, Options(**options), notes or Notes()))


def csv_bytes(delimiter, end="\n", names=("text", "label")):
    rows = [names, *((record["text"], record["label"]) for record in RECORDS)]
    return end.join(
        delimiter.join('"' + field.replace('"', '""').replace("\n", end) + '"' for field in row) for row in rows
    )


def write_jsonl(path):
    srsly.write_jsonl(path, RECORDS)


def write_json_list(path):
    path.write_text(json.dumps({"data": RECORDS}, indent=1), encoding="utf-8")


def write_docbin(path):
    nlp = spacy.blank("xx")
    docs = DocBin()
    for record in RECORDS:
        doc = nlp(record["text"])
        doc.cats = {label: float(label == record["label"]) for label in ("film", "sport")}
        docs.add(doc)
    docs.to_disk(path)


def write_parquet(path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(RECORDS), path)


def huggingface_table():
    """A table as the package `datasets` saves it: class numbers, their names in the schema's metadata."""
    pa = pytest.importorskip("pyarrow")
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["film", "sport"], "_type": "ClassLabel"},
    }
    rows = [{"text": r["text"], "label": ["film", "sport"].index(r["label"])} for r in RECORDS]
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    table = pa.Table.from_pylist(rows, schema=schema)
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_huggingface(path):
    pa = pytest.importorskip("pyarrow")
    path.mkdir()
    srsly.write_json(path / "state.json", {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    table = huggingface_table()
    file = str(path / "data-00000-of-00001.arrow")
    with pa.OSFile(file, "wb") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)


FORMS = {
    "jsonl": (write_jsonl, "jsonl"),
    "a JSON object on one line": (lambda path: path.write_text(json.dumps({"version": "1", "data": RECORDS}), encoding="utf-8"), "json"),
    "jsonl, packed": (lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, RECORDS)).encode())), "jsonl"),
    "JSON list": (write_json_list, "json"),
    "CSV": (lambda path: path.write_text(csv_bytes(","), encoding="utf-8"), "table"),
    "CSV, byte-order mark, Windows": (lambda path: path.write_bytes(b"\xef\xbb\xbf" + csv_bytes(",", "\r\n").encode()), "table"),
    "CSV, old Mac": (lambda path: path.write_bytes(csv_bytes(",", "\r").encode()), "table"),
    "CSV, semicolons": (lambda path: path.write_text(csv_bytes(";"), encoding="utf-8"), "table"),
    "TSV": (lambda path: path.write_text(csv_bytes("\t"), encoding="utf-8"), "table"),
    "TSV, UTF-16": (lambda path: path.write_bytes(csv_bytes("\t").encode("utf-16")), "table"),
    "other column names": (lambda path: path.write_text(csv_bytes(",", names=("Sentence", "Intent")), encoding="utf-8"), "table"),
    "DocBin": (write_docbin, "spacy"),
    "Parquet": (write_parquet, "parquet"),
    "Hugging Face": (write_huggingface, "datasets"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "name"), FORMS.values(), ids=FORMS)
def test_forms(tmp_path, write, name):
    path = tmp_path / "train.dat"
    write(path)
    assert detect(path) == name
    notes = Notes()
    assert read(path, notes) == EXPECTED == read(path, format=name)
    assert notes.formats == {path.as_posix(): name}


@pytest.mark.parametrize(
    ("field", "labels"),
    [
        ("[2, 5]", ("2", "5")),
        ("[27]", ("27",)),
        ("[]", ()),
        ("['a' 'b']", ("a", "b")),
        ("['a'\n 'b']", ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ("['O\\'Brien', \"x\"]", ("O'Brien", "x")),
        (r'["caf\u00e9"]', ("café",)),
        (r'["R\/S", "\ud83d\ude00"]', ("R/S", "😀")),
        ("[draft", ("[draft",)),
        ("[a] and [b]", ("[a] and [b]",)),
    ],
)
def test_lists_in_a_field(tmp_path, field, labels):
    path = tmp_path / "train.csv"
    path.write_text('text,label\nA text,"{}"\n'.format(field.replace('"', '""')), encoding="utf-8")
    assert read(path) == [("A text", labels)]


def test_a_nested_list_is_no_file_of_records(tmp_path):
    path = tmp_path / "train.jsonl"
    records = [{"abstract": f"Text {i}", "label": "x", "authors": [{"name": "A", "title": "Dr"}]} for i in range(2)]
    for count in (2, 1):
        srsly.write_jsonl(path, records[:count])
        assert read(path, text_column="abstract") == [("Text 0", ("x",)), ("Text 1", ("x",))][:count]


def test_class_names_beside_the_label_and_caches_leave_no_row_out(tmp_path):
    pa = pytest.importorskip("pyarrow")
    names = {name: {"names": ["a", "b"], "_type": "ClassLabel"} for name in ("label", "topic")}
    rows = [{"text": "one", "label": 0, "topic": -1}, {"text": "two", "label": 1, "topic": None}]
    rows += [{"text": "three", "label": -1, "topic": 1}]
    table = pa.Table.from_pylist(rows).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": names}})}
    )
    (tmp_path / "train").mkdir()
    for name in ("data-00000-of-00001.arrow", "cache-0123.arrow"):
        with (
            pa.OSFile(str(tmp_path / "train" / name), "wb") as stream,
            pa.ipc.new_stream(stream, table.schema) as writer,
        ):
            writer.write_table(table)
    notes = Notes()
    assert read(tmp_path / "train", notes) == [("one", ("a",)), ("two", ("b",))]
    assert notes.counts == {"a row without a label, left out": 1}


def test_values_of_parquet_that_python_cannot_hold(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    when = pa.array([300_000_000_000_000], pa.int64()).cast(pa.timestamp("ms"))  # the year 11476
    parquet.write_table(pa.table({"text": ["one"], "label": ["a"], "when": when}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match="train.parquet: broken Parquet or Arrow file"):
        read(tmp_path / "train.parquet")


def test_labels_of_other_types(tmp_path):
    path = tmp_path / "train.jsonl"
    srsly.write_jsonl(path, [{"text": "A text", "label": label} for label in (0.5, 1.0, 2, True)])
    assert [labels for _, labels in read(path)] == [("0.5",), ("1",), ("2",), ("True",)]


def test_a_column_cats_without_mappings_is_no_label_where_there_is_one(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,cats,label\nA text,0,sport\nAnother,2,film\n", encoding="utf-8")
    notes = Notes()
    assert read(path, notes) == [("A text", ("sport",)), ("Another", ("film",))]
    assert notes.columns[path.as_posix()]["label"] == "label"
    path.write_text("text,cats\nA text,0\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2: `cats` must map each label to 0 or 1"):
        read(path)


@pytest.mark.parametrize(
    ("line", "text", "labels"),
    [
        ('__label__positive A fine, "wise" film', 'A fine, "wise" film', ("positive",)),
        ("__label__b __label__a Two of them", "Two of them", ("a", "b")),
        ("__label__a\tWith a tab", "With a tab", ("a",)),
        ("The label comes last __label__a", "The label comes last", ("a",)),
        ("__label__food-safety  Spaces   are one", "Spaces are one", ("food-safety",)),
    ],
)
def test_fasttext_s_form(tmp_path, line, text, labels):
    path = tmp_path / "train.txt"
    path.write_text(f"{line}\n\n__label__a and another\nwithout a label\n", encoding="utf-8")
    assert detect(path) == "fasttext"
    assert read(path) == [(text, labels), ("and another", ("a",)), ("without a label", ())]


@pytest.mark.parametrize(
    ("line", "expected"),
    [("__label__a", "line 2: labels without a text. Add it"), ("__label__ text", "line 2: __label__ without a name")],
)
def test_broken_lines_of_fasttext_s_form(tmp_path, line, expected):
    path = tmp_path / "train.txt"
    path.write_text(f"__label__a text\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        read(path)


def test_splits_are_found_by_fasttext_s_usual_names(tmp_path):
    for name in ("cooking.train", "cooking.valid", "cooking.test.gz"):
        (tmp_path / name).touch()
    found = {split: paths[0].name for split, paths in find_inputs(tmp_path).items()}
    assert found == {"train": "cooking.train", "dev": "cooking.valid", "test": "cooking.test.gz"}


def test_every_format_is_tried_here():
    assert {name for _, name in FORMS.values()} | {"folders", "prodigy", "fasttext"} == set(FORMATS)


def test_a_folder_for_each_label(tmp_path):
    for label, texts in {"film": ["An actor", "A star"], "sport": ["A goal"]}.items():
        (tmp_path / "train" / label).mkdir(parents=True)
        for i, text in enumerate(texts):
            (tmp_path / "train" / label / f"{i}.txt").write_text(text + "\n", encoding="utf-8")
    (tmp_path / "train" / "film" / "poster.png").write_bytes(b"\x89PNG")
    notes = Notes()
    assert read(tmp_path / "train", notes) == [("An actor", ("film",)), ("A star", ("film",)), ("A goal", ("sport",))]
    assert notes.formats == {(tmp_path / "train").as_posix(): "folders"}
    assert "poster.png" in notes.lines()[0]
    # without the folder `train` around them
    assert pairs(read_folder(tmp_path / "train", Options(), Notes())["train"]) == read(tmp_path / "train")


def test_parquet_shards_with_class_names_on_the_hub_layout(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        parquet.write_table(huggingface_table(), tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("# card", encoding="utf-8")
    splits = read_folder(tmp_path, Options(), Notes())
    assert {split: pairs(examples) for split, examples in splits.items()} == {"train": EXPECTED * 2, "dev": EXPECTED}


def test_a_test_set_whose_labels_are_hidden(tmp_path):
    """As the hub has those of competitions: class number -1 in each row."""
    table = huggingface_table()
    index = table.schema.get_field_index("label")
    hidden = table.set_column(index, table.schema.field(index), [[-1] * len(table)])
    pytest.importorskip("pyarrow.parquet").write_table(hidden, tmp_path / "test.parquet")
    with pytest.raises(UserError, match="no row has a label. Name it otherwise: train, dev and test must have labels"):
        read(tmp_path / "test.parquet")


def test_saved_dataset_dict(tmp_path):
    srsly.write_json(tmp_path / "dataset_dict.json", {"splits": ["train", "test"]})
    for split in ("train", "test"):
        write_huggingface(tmp_path / split)
    splits = read_folder(tmp_path, Options(), Notes())
    assert pairs(splits["test"]) == EXPECTED and list(splits) == ["train", "test"]


def test_the_only_file_is_train(tmp_path):
    write_jsonl(tmp_path / "annotations_final.jsonl")
    (tmp_path / "README.md").write_text("about", encoding="utf-8")
    (tmp_path / "raw.txt").write_text("raw", encoding="utf-8")
    assert find_inputs(tmp_path) == {"train": [tmp_path / "annotations_final.jsonl"]}


@pytest.mark.parametrize(
    ("options", "line", "labels"),
    [
        ({"label_column": "a, b"}, {"text": "x", "a": 1, "b": "0"}, ("a",)),
        ({"label_column": "a,b"}, {"text": "x", "a": True, "b": "1"}, ("a", "b")),
        ({"label_separator": "|"}, {"text": "x", "label": "b| a"}, ("a", "b")),
        ({}, {"text": "x", "labels": "['b', \"a's\"]"}, ("a's", "b")),
        ({}, {"text": "x", "labels": '["b", "a"]'}, ("a", "b")),
        ({}, {"text": "x", "labels": "[]"}, ()),
        ({}, {"text": "x", "label": "['b' 'a']"}, ("a", "b")),
        ({}, {"text": "x", "label": "[news]"}, ("[news]",)),
        ({"label_column": "topic"}, {"text": "x", "label": "wrong", "topic": "right"}, ("right",)),
        ({"text_column": "body"}, {"text": "", "body": "x", "label": "a"}, ("a",)),
        ({}, {"text": "x", "labels": ["b", "a", "b "]}, ("a", "b")),
        ({}, {"text": "x", "labels": []}, ()),
        ({}, {"text": "x", "cats": {"a": True, "b": 0.0}}, ("a",)),
        ({}, {"text": "x", "label": 3}, ("3",)),
        ({}, {"review": "x", "stars": 4.0}, ("4",)),
        ({}, {"tweet": "x", "Sentiment": "positive"}, ("positive",)),
        ({}, {"title": "x", "tags": ["b", "a"]}, ("a", "b")),
        ({}, {"text": "x", "topic": "no", "label": "yes"}, ("yes",)),
        ({}, {"Class Index": 3, "Title": "no", "Description": "x"}, ("3",)),
        ({}, {"reviewerName": "no", "overall": 5.0, "reviewText": "x", "summary": "no"}, ("5",)),
        ({}, {"comment_text": "x", "gold_label": "yes"}, ("yes",)),
        ({}, {"reviewText": "x", "airline_sentiment": "yes", "airline_sentiment_confidence": 1.0}, ("yes",)),
        ({}, {"label_text": "no", "category_title": "no", "tweetText": "x", "productCategory": 3}, ("3",)),
    ],
)
def test_labels_and_columns(tmp_path, options, line, labels):
    srsly.write_jsonl(tmp_path / "train.jsonl", [line])
    assert read(tmp_path / "train.jsonl", **options) == [("x", labels)]


def test_named_columns_stand_beside_others(tmp_path):
    """A column that is named is taken from every record, whatever else it has; capitals make no other column."""
    srsly.write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "stars": 1}, {"text": "y", "label": "no", "stars": 2}])
    assert read(tmp_path / "a.jsonl", label_column="stars") == [("x", ("1",)), ("y", ("2",))]
    srsly.write_jsonl(tmp_path / "b.jsonl", [{"text": "x", "Label": "a"}, {"Text": "y", "label": "b"}])
    assert read(tmp_path / "b.jsonl") == [("x", ("a",)), ("y", ("b",))]


# Prodigy


def binary(text, label, answer, task):
    return {"text": text, "label": label, "answer": answer, "_input_hash": hash(text), "_task_hash": task}


def choice(text, accept, answer="accept", style=None):
    options = [{"id": name, "text": name.title()} for name in ("a", "b", "c")]
    config = {"config": {"choice_style": style}} if style else {}
    return {"text": text, "options": options, "accept": accept, "answer": answer, "_input_hash": hash(text)} | config


PRODIGY = {
    "one label: with or without": (
        [binary("t1", "X", "accept", 1), binary("t2", "X", "reject", 2), binary("t3", "X", "ignore", 3)],
        {},
        [("t1", ("X",)), ("t2", ())],
        "ignored task",
    ),
    "same task twice": ([binary("t1", "X", "accept", 1), binary("t1", "X", "accept", 1)], {}, [("t1", ("X",))], "twice"),
    "contradiction": (
        [binary("t1", "X", "accept", 1), binary("t1", "X", "reject", 1), binary("t2", "X", "reject", 2)],
        {},
        [("t2", ())],
        "contradicting",
    ),
    "several labels, one each": (
        [binary("t1", "X", "accept", 1), binary("t1", "Y", "reject", 2), binary("t2", "Y", "reject", 3)],
        {},
        [("t1", ("X",))],
        "only is known what it is not",
    ),
    "several labels, set to multi": (
        [binary("t1", "X", "accept", 1), binary("t1", "Y", "reject", 2), binary("t2", "Y", "reject", 3)],
        {"mode": "multi"},
        [("t1", ("X",)), ("t2", ())],
        None,
    ),
    "two accepted labels": (
        [binary("t1", "X", "accept", 1), binary("t1", "Y", "accept", 2), binary("t2", "Y", "reject", 3)],
        {},
        [("t1", ("X", "Y")), ("t2", ())],
        None,
    ),
    "single choice": ([choice("t1", ["a"]), choice("t2", []), choice("t3", ["b"], "reject")], {}, [("t1", ("a",))], "rejected"),
    "multiple choice": ([choice("t1", ["b", "a"]), choice("t2", [])], {}, [("t1", ("a", "b")), ("t2", ())], None),
    "multiple choice by its settings": ([choice("t1", ["a"], style="multiple"), choice("t2", [])], {}, [("t1", ("a",)), ("t2", ())], None),
    "choices that differ": ([choice("t1", ["a"]), choice("t1", ["b"]), choice("t2", ["b"])], {}, [("t2", ("b",))], "contradicting"),
}  # fmt: skip


@pytest.mark.parametrize(("records", "options", "expected", "note"), PRODIGY.values(), ids=PRODIGY)
def test_prodigy(tmp_path, records, options, expected, note):
    path = tmp_path / "annotations.jsonl"
    srsly.write_jsonl(path, records)
    notes = Notes()
    assert detect(path) == "prodigy"
    assert read(path, notes, **options) == expected
    assert note in " ".join(notes.lines()) if note else not notes.lines()


# Raw text


@pytest.mark.parametrize("name", ["raw.jsonl", "raw.txt", "raw.jsonl.gz", "raw.txt.gz", "Raw.TXT", "data/raw.jsonl"])
def test_raw_text(tmp_path, name):
    lines = [json.dumps({"text": text}) if "json" in name else text for text in ("one line", "", "Zwölf")]
    data = "\r\n".join(lines).encode()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert list(read_raw(tmp_path)) == ["one line", "Zwölf"]


RAW_FORMS = {
    "raw.csv": b'id,date,text\n1,2024-01-01,"one, line"\n2,2024-01-02,two\n',
    "raw.tsv": b"id\ttext\n1\tone, line\n2\ttwo\n",
    "raw.json": b'[{"text": "one, line"}, {"text": null}, {"text": "two"}]',
    "raw.jsonl": b'"one, line"\n"two"\n',
    "raw.txt": b"one, line\ntwo\n",
    "raw.ft": b"__label__a one, line\ntwo\n",
}


@pytest.mark.parametrize("name", RAW_FORMS)
def test_raw_text_in_other_forms(tmp_path, name):
    (tmp_path / name).write_bytes(RAW_FORMS[name])
    assert list(read_raw(tmp_path)) == ["one, line", "two"]


def test_raw_text_of_parquet_and_of_a_column_that_is_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist([{"text": "title", "msg": "one"}]), tmp_path / "raw.parquet")
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": "two"}])
    assert list(read_raw(tmp_path)) == ["two", "title"]
    assert list(read_raw(tmp_path, "msg")) == ["two", "one"]


def test_brackets_in_plain_raw_text_are_no_json(tmp_path):
    (tmp_path / "raw.txt").write_text("[Music] a, b\nmore\n", encoding="utf-8")
    assert list(read_raw(tmp_path)) == ["[Music] a, b", "more"]


def test_raw_text_is_streamed(tmp_path):
    with (tmp_path / "raw.txt").open("w", encoding="utf-8") as stream:
        stream.writelines(f"line {i}\n" for i in range(1000))
        stream.write("bad \0 line\n")
    stream = read_raw(tmp_path)
    assert next(stream) == "line 0"
    with pytest.raises(UserError, match=r"raw.txt, line 1001: a NUL byte"):
        list(stream)
