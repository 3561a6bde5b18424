"""Texts in, labels out: every form of input, streaming, and the same answer from several processes."""

import csv
import datetime
import gzip
import itertools
import json
import os

import pytest
import spacy
import srsly

from scripts.deploy.classify import MADE_BY
from scripts.deploy.labelling import Reading, answer, flat, pipe
from scripts.forms.records import import_pyarrow
from tests.conftest import ROOT, fit_linear_model, message
from tests.evaluation.test_thresholds import BOW

CODE = ROOT / "scripts" / "components.py"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An untrained pipeline of each kind: folders `single` and `multi`."""
    folder = tmp_path_factory.mktemp("models")
    for name, factory in (("single", "textcat"), ("multi", "textcat_multilabel")):
        nlp = spacy.blank("en")
        model = BOW | {"exclusive_classes": name == "single"}
        pipe = nlp.add_pipe(factory, name="textcat", config={"model": model})
        for label in ("a", "b"):
            pipe.add_label(label)
        nlp.initialize()
        nlp.to_disk(folder / name)
    spacy.blank("en").to_disk(folder / "blank")
    return folder


TEXTS = ["The goal, and match", 'a "quoted" bank', "", "Zwölf"]
INPUTS = {
    "texts.txt": "\n".join(TEXTS).encode(),
    "texts.txt.gz": gzip.compress("\r\n".join(TEXTS).encode()),
    "texts.jsonl": "\n".join(json.dumps({"text": text, "id": i}) for i, text in enumerate(TEXTS)).encode(),
    "texts.csv": ("id,text\n" + "\n".join('1,"{}"'.format(text.replace('"', '""')) for text in TEXTS)).encode(),
    "texts.tsv": b"\xef\xbb\xbf" + ("text\tid\n" + "\n".join(f"{text}\t1" for text in TEXTS)).replace('"', "").encode(),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(tmp_path, run, models, name):
    (tmp_path / name).write_bytes(INPUTS[name])
    process = run("classify", models / "single", name, "out/labelled.jsonl")
    assert process.returncode == 0 and "4 texts labelled" in process.output
    records = list(srsly.read_jsonl(tmp_path / "out" / "labelled.jsonl"))
    assert [r["text"].replace('"', "") for r in records] == [text.replace('"', "") for text in TEXTS]
    assert [r["label"] for r in records][2] is None and records[2]["cats"] == {}
    for record in (records[0], records[1], records[3]):
        assert record["cats"][record["label"]] == max(record["cats"].values())
        assert sum(record["cats"].values()) == pytest.approx(1, abs=1e-3)


def test_table_out_and_several_labels(tmp_path, run, models):
    (tmp_path / "in.jsonl").write_bytes(INPUTS["texts.jsonl"])
    assert run("classify", models / "multi", "in.jsonl", "out.csv").returncode == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8", newline="")))
    assert list(rows[0]) == ["text", "id", "labels", "score a", "score b"]
    found = flat({"labels": ["it's|tech", "b"], "cats": {}}, ("it's|tech", "b", "c"), joined=True)["labels"]
    assert json.loads(found) == ["it's|tech", "b"], "a bar would part what is one"
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        expected = [label for label in "ab" if row[f"score {label}"] and float(row[f"score {label}"]) >= 0.5]
        assert row["labels"] == "|".join(expected)


def test_answers():
    assert answer({"a": 0.2, "b": 0.8}, None) == {"label": "b", "cats": {"a": 0.2, "b": 0.8}}
    assert answer({"a": 0.2, "b": 0.8}, 0.1)["labels"] == ["a", "b"]
    assert answer({}, None) == {"label": None, "cats": {}}


def test_streams_an_endless_input(models):
    endless = (({"text": f"text {i}"}, "x") for i in itertools.count())
    labelled = pipe(spacy.load(models / "single"), endless, "auto")
    assert [record["text"] for record in itertools.islice(labelled, 3)] == ["text 0", "text 1", "text 2"]


def test_new_words_do_not_stay_in_memory(models):
    nlp = spacy.load(models / "single")
    before = len(nlp.vocab.strings), len(list(nlp.vocab))  # len(nlp.vocab) counts what was forgotten
    texts = [f"new{i}a and new{i}b" for i in range(2500)]
    labelled = list(pipe(nlp, iter([({"text": text}, "x") for text in texts]), "auto"))
    assert [record["text"] for record in labelled] == texts and all(record["label"] for record in labelled)
    assert len(nlp.vocab.strings) - before[0] < 100 and len(list(nlp.vocab)) - before[1] < 100
    single = [nlp(text).cats for text in (texts[0], texts[-1])]
    for record, cats in zip((labelled[0], labelled[-1]), single, strict=True):
        assert record["cats"] == {label: round(score, 4) for label, score in cats.items()}


def test_a_plain_text_may_hold_commas(tmp_path):
    (tmp_path / "in.txt").write_text("one, two\nthree\n", encoding="utf-8")
    assert [record for record, _ in Reading().records(tmp_path / "in.txt")] == [{"text": "one, two"}, {"text": "three"}]


def test_parquet_keeps_columns_and_types(tmp_path, run, models):
    pyarrow = import_pyarrow()
    when = datetime.datetime(2024, 2, 29, 12)
    schema = pyarrow.schema({"id": pyarrow.int16(), "text": pyarrow.string(), "when": pyarrow.timestamp("ms")})
    rows = [{"id": i, "text": text, "when": None if i else when} for i, text in enumerate(TEXTS)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), tmp_path / "in.parquet")
    for model, label_type in (("single", pyarrow.string()), ("multi", pyarrow.list_(pyarrow.string()))):
        assert run("classify", models / model, "in.parquet", f"{model}.parquet").returncode == 0
        table = pyarrow.parquet.read_table(tmp_path / f"{model}.parquet")
        assert table.schema.names == [*schema.names, "label" if model == "single" else "labels", "score a", "score b"]
        assert [table.schema.field(name).type for name in schema.names] == schema.types
        assert table.schema.field(3).type == label_type
        assert [{name: row[name] for name in schema.names} for row in table.to_pylist()] == rows
    assert run("classify", models / "multi", "in.parquet", "out.csv").returncode == 0
    csv_rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8", newline="")))
    assert [row["score a"] for row in csv_rows] == [
        "" if row["score a"] is None else str(row["score a"]) for row in table.to_pylist()
    ]


def test_labels_of_the_input_stay_as_they_are(tmp_path, run, models):
    pyarrow = import_pyarrow()
    records = [{"text": "goal", "labels": "sport", "label": 1}, {"text": "bank", "labels": "money", "label": 2}]
    srsly.write_jsonl(tmp_path / "in[1].jsonl", records)
    srsly.write_jsonl(tmp_path / "in1.jsonl", [{"text": "another file"}])
    for model, own in (("single", "labels"), ("multi", "label")):
        process = run("classify", models / model, "in[1].jsonl", f"{model}.parquet")
        assert process.returncode == 0 and "2 texts labelled" in process.output, process.output
        found = pyarrow.parquet.read_table(tmp_path / f"{model}.parquet").to_pylist()
        assert [row[own] for row in found] == [record[own] for record in records]
    srsly.write_jsonl(tmp_path / "in.jsonl", [{"text": "goal", "labels": ["u", "v"]}])
    assert run("classify", models / "single", "in.jsonl", "out.csv").returncode == 0
    (row,) = csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8", newline=""))
    assert row["labels"] == '["u", "v"]'


@pytest.mark.parametrize("source", ["shards", "shards/*.*"])
def test_shards_are_labelled_once(tmp_path, run, models, source):
    (tmp_path / "shards").mkdir()
    for name in ("texts.jsonl", "texts.csv", "texts.txt.gz"):
        (tmp_path / "shards" / name).write_bytes(INPUTS[name])
    (tmp_path / "shards" / "none.jsonl").touch()
    (tmp_path / "shards" / ".hidden").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "texts.csv").write_text("by whom?", encoding="utf-8")
    assert "out/texts.csv: nothing says what has labelled it" in message(
        run("classify", models / "single", source, "out")
    )
    (tmp_path / "out" / "texts.csv").unlink()
    first = run("classify", models / "single", source, "out")
    assert first.returncode == 0 and "4 files, 0 labelled already" in first.output and "12 texts" in first.output
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir() if path.name != MADE_BY}
    assert sorted(times) == ["none.jsonl", "texts.csv", "texts.jsonl", "texts.txt.gz.jsonl"]
    assert run("classify", models / "single", "shards/texts.csv", "alone.csv").returncode == 0
    assert (tmp_path / "alone.csv").read_bytes() == (tmp_path / "out" / "texts.csv").read_bytes()

    (tmp_path / "out" / "texts.jsonl").unlink()
    later = (tmp_path / "out" / "texts.csv").stat().st_mtime + 10
    os.utime(tmp_path / "shards" / "texts.csv", (later, later))
    assert "4 files, 2 labelled already" in run("classify", models / "single", source, "out").output
    again = {path.name for path in (tmp_path / "out").iterdir() if path.stat().st_mtime_ns != times.get(path.name, 0)}
    assert again - {MADE_BY} == {"texts.csv", "texts.jsonl"}
    assert "holds labels by another model" in message(run("classify", models / "multi", source, "out"))


def test_a_broken_shard_keeps_the_others(tmp_path, run, models):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("fine\n", encoding="utf-8")
    (tmp_path / "in" / "b.jsonl").write_text('{"text": \n', encoding="utf-8")
    assert "b.jsonl, line 1: broken JSON" in message(run("classify", models / "single", "in", "out"))
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["a.txt.jsonl"]
    (tmp_path / "in" / "b.jsonl").write_text('{"text": "mended"}', encoding="utf-8")
    assert "2 files, 1 labelled already" in run("classify", models / "single", "in", "out").output


@pytest.mark.slow
def test_several_processes_give_the_same(tmp_path, run, models):
    (tmp_path / "in.txt").write_text("\n".join(f"text {i} of many" for i in range(300)), encoding="utf-8")
    for n in (1, 2):
        assert run("classify", models / "single", "in.txt", f"{n}.jsonl", "--n-process", n).returncode == 0
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


@pytest.mark.slow
def test_several_processes_load_what_the_project_has_registered(toy_assets, run, tmp_path):
    """They begin anew, as on Windows and macOS: nothing of the pipeline can be pickled."""
    assert run("convert", "toy", "corpus").returncode == 0
    fit_linear_model(run)
    assert run("train", "linear", "--configs", ROOT / "configs").returncode == 0
    (tmp_path / "in.txt").write_text("\n".join(f"the goal and match of day {i}" for i in range(5000)), encoding="utf-8")
    for n in (1, 2):
        process = run(
            "classify", "training/linear/model-best", "in.txt", f"{n}.jsonl", "--n-process", n, "--code", CODE
        )
        assert process.returncode == 0, process.output
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert len((tmp_path / "2.jsonl").read_text(encoding="utf-8").splitlines()) == 5000
    # A mistake that comes late is said as by one process, and nothing is left half-written.
    with (tmp_path / "late.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"text": f"text {i}"}) + "\n" for i in range(4500))
        stream.write("{broken\n")
    late = ("late.jsonl", "out.jsonl", "--n-process", 2, "--code", CODE)
    said = message(run("classify", "training/linear/model-best", *late))
    assert "late.jsonl, line 4501: broken JSON" in said and not (tmp_path / "out.jsonl").exists()


def test_a_plain_text_may_begin_with_a_bracket(tmp_path, run, models):
    (tmp_path / "mails.txt").write_text("[Urgent] the server is down\n[1] see below\n", encoding="utf-8")
    assert run("classify", models / "single", "mails.txt", "out.jsonl").returncode == 0
    found = [record["text"] for record in srsly.read_jsonl(tmp_path / "out.jsonl")]
    assert found == ["[Urgent] the server is down", "[1] see below"]
    (tmp_path / "list.json").write_text('[{"text": "a goal"},\n{"text": "a bank"}]', encoding="utf-8")
    run("classify", models / "single", "list.json", "out.jsonl")
    assert [record["text"] for record in srsly.read_jsonl(tmp_path / "out.jsonl")] == ["a goal", "a bank"]


def test_where_the_labels_of_many_files_cannot_go(tmp_path, run, models):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a text\n", encoding="utf-8")
    for output, expected in (("new.jsonl", "many files need a folder"), ("in", "in: is the input")):
        assert expected in message(run("classify", models / "single", "in", output))
    assert [path.name for path in tmp_path.iterdir()] == ["in"] and len(list((tmp_path / "in").iterdir())) == 1


def test_no_output_is_written_twice(tmp_path, run, models):
    for name in ("notes", "notes.jsonl"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text('{"text": "fine"}\n', encoding="utf-8")
    said = message(run("classify", models / "single", "in", "out"))
    assert "in/notes, in/notes.jsonl: the labels of both would be written to out/notes.jsonl" in said


def test_mistakes_are_named(tmp_path, run, models):
    (tmp_path / "in.txt").write_text("text\n", encoding="utf-8")
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n{"txt": "x"}\n', encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n', encoding="utf-8")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "mixed.jsonl").write_text('{"text": "a", "id": 1}\n{"text": "b", "id": "x"}\n', encoding="utf-8")
    cases = {
        (models / "single", "mixed.jsonl", "out.parquet"): "a column holds values of different types",
        (models / "single", "*.xyz", "out"): "*.xyz: there is no file in it",
        (models / "single", "*.txt", "in.txt"): "in.txt: is a file",
        (models / "single", "in.txt", "out.xml"): "must end in .jsonl, .csv, .tsv or .parquet",
        (models / "none", "in.txt", "out.csv"): "no pipeline that can be loaded",
        (models / "blank", "in.txt", "out.csv"): "has no text classifier",
        (models / "single", "none.txt", "out.csv"): "none.txt: there is no such file. Name one: --vars.input",
        (models / "single", "empty.txt", "out.csv"): "there is no text in it",
        (
            models / "single",
            "in.jsonl",
            "out.csv",
        ): "in.jsonl, line 2: no column with a known name of texts",
        (models / "single", "bad.jsonl", "out.csv"): "bad.jsonl, line 2: broken JSON",
        (models / "single", "in.txt", "out.csv", "--text-column", "body"): "no column 'body'",
    }
    for arguments, expected in cases.items():
        assert expected in message(run("classify", *arguments))
        assert not list(tmp_path.glob("out*"))
