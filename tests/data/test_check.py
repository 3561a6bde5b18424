"""The data check finds what spoils scores, stops at what convert would refuse, and says nothing about good data."""

import numpy as np
import pytest
import srsly

from scripts.data.check import (
    Findings,
    find_few,
    find_few_texts,
    find_large_dev,
    near_duplicates,
    open_tokenizer,
    percentiles,
)
from scripts.data.formats import Example
from scripts.evaluation.scores import detectable
from tests.conftest import ROOT, message, toy_records

GERMAN = "Der Trainer hat nach dem Spiel gesagt, dass er mit der Leistung seiner Mannschaft nicht zufrieden ist"
ENGLISH = "The coach said after the match that he was not happy with how his team had been playing this year"

LONG = " ".join(f"word{i}" for i in range(16))  # shorter texts may be alike by chance


def example(text, source="x", labels=("a",)):
    return Example(text, labels, source)


@pytest.fixture
def check(run, toy_assets, tmp_path):
    """Check the toy data with other records in train.jsonl and dev.jsonl: (process, what check.json holds)."""

    def run_check(train=None, dev=None, *options):
        for name, records in (("train", train), ("dev", dev)):
            if records is not None:
                srsly.write_jsonl(toy_assets / f"{name}.jsonl", records)
        process = run("check", "toy", "check.json", "--config", ROOT / "configs", *options)
        return process, srsly.read_json(tmp_path / "check.json")

    return run_check


def kinds(result):
    return {item["kind"]: item for item in result["findings"]}


@pytest.mark.slow
def test_good_data_brings_only_remarks_on_its_size(check):
    process, result = check(toy_records(per_label=160))
    assert process.returncode == 0, process.output
    assert set(kinds(result)) <= {"few_texts", "near_duplicates_test", "near_duplicates_dev"}
    assert result["mode"] == "single" and result["examples"]["train"] + result["examples"]["test"] < 480
    assert set(result["labels"]) == {"film", "money", "sport"}
    assert "Text Classification: 3 label(s)" in result["debug_data"]
    assert "Corpus is loadable" in process.output and "no errors" in process.output


def test_warnings_do_not_stop(check):
    records = toy_records()
    train = [*records, {"text": "the SAME text", "label": "film"}, {"text": "The same text!", "label": "sport"}]
    train += [{"text": records[0]["text"].upper(), "label": records[0]["label"]}]
    train += [{"text": f"a note about {LONG}", "label": "film"}]
    dev = [{"text": f"{LONG} is what it says", "label": "film"}]
    dev += [{"text": f"dev text {i} in {label}", "label": label} for i in range(3) for label in ("sport", "money")]
    process, result = check(train, dev)
    found = kinds(result)
    assert process.returncode == 0, process.output
    assert {"conflicting_labels", "repeated_texts", "near_duplicates_dev", "few_in_train", "few_in_dev"} <= set(found)
    assert "1 text(s) with conflicting labels" in found["conflicting_labels"]["text"]
    assert "line 73" in found["conflicting_labels"]["cases"][0] and "line 74" in found["conflicting_labels"]["cases"][0]
    assert "dev.jsonl, line 1 ~ assets/toy/train.jsonl, line 76" in found["near_duplicates_dev"]["cases"][0]


def test_labels_that_train_lacks(check):
    dev = [{"text": f"dev text {i} in sport", "label": "sport"} for i in range(19)] + [{"text": "rain", "label": "sky"}]
    process, result = check(toy_records(), dev)
    assert process.returncode == 0, process.output
    assert "cannot be learned: 'sky'; 1 text(s)" in kinds(result)["unlearned_labels"]["text"]
    assert result["examples"]["dev"] == 19 and "sky" not in result["labels"]
    process, result = check(toy_records(), dev[15:])
    assert "1 of 5 texts of dev have such labels" in kinds(result)["labels"]["text"] and process.returncode == 1


def test_errors_stop_and_are_in_the_file(check):
    process, result = check([{"text": f"text {i}", "label": "a"} for i in range(20)])
    assert "1 error(s)" in message(process)
    assert "all examples have the same label" in kinds(result)["labels"]["text"]
    assert result["given"] == {"train": 20}
    process, result = check([{"text": "x"}])
    assert "`label` is missing" in message(process)
    assert kinds(result)["reading"]["level"] == "error"
    process, result = check(toy_records(), None, "--lang", "klingon")
    assert "klingon" in message(process) and kinds(result)["language"]["level"] == "error"


@pytest.mark.parametrize(
    ("lang", "text", "expected"), [("en", GERMAN, "de"), ("en", ENGLISH, None), ("de", GERMAN, None)]
)
def test_language(check, lang, text, expected):
    train = [{"text": f"{text} {i}", "label": "ab"[i % 2]} for i in range(60)]
    _, result = check(train, None, "--lang", lang)
    found = kinds(result).get("language")
    assert (found is None) if expected is None else (f"--vars.lang {expected}" in found["text"])


def test_texts_without_a_repeated_word_need_raw_text(check, toy_assets):
    names = [{"text": f"name{i}", "label": "ab"[i % 2]} for i in range(80)]
    raw = toy_assets / "raw.jsonl"
    raw.unlink()
    _, result = check(names)
    assert "Without raw text, vectors, pruned, floret, distilled" in kinds(result)["few_words"]["text"]
    raw.write_text('{"text": "the name of the name of the name"}\n', encoding="utf-8")
    _, result = check(names)
    assert "few_words" not in kinds(result)
    raw.write_text('{"text"\n', encoding="utf-8")
    process, result = check(names)
    assert process.returncode == 1 and kinds(result)["raw"]["level"] == "error"


def test_few_examples():
    findings = Findings()
    find_few({"a": {"train": 20, "dev": 10, "test": 10}, "b": {"train": 19, "dev": 10, "test": 9}}, findings)
    assert [(item["kind"], item["cases"]) for item in findings.items] == [
        ("few_in_train", ["b: 19"]),
        ("few_in_test", ["b: 9"]),
    ]


@pytest.mark.parametrize(
    ("train", "dev", "rarest", "found"),
    [(100, 51, 51, True), (100, 50, 50, False), (100, 100, 50, True), (100, 100, 40, False), (40, 25, 8, False)],
)
def test_a_dev_set_of_more_use_for_training(train, dev, rarest, found):
    findings = Findings()
    texts, counts = [example("a b")] * 100, {"a": {"dev": dev - rarest}, "b": {"dev": rarest}, "(none)": {"dev": 0}}
    if rarest == dev:
        del counts["a"]
    find_large_dev({"train": texts[:train], "dev": texts[:dev], "test": []}, counts, findings)
    assert [item["kind"] for item in findings.items] == ["large_dev"] * found


def test_what_a_test_set_can_tell():
    """By simulation: of twice as large a true difference, the paired test finds nearly all; of none, hardly any."""
    rng = np.random.default_rng(0)
    n, found = 525, {}
    for difference in (0.0, 2 * detectable(n)):
        # One of two is right: text by text, more often the first.
        shares = [(0.1 + difference) / 2, (0.1 - difference) / 2, 0.9]
        counts = rng.multinomial(n, shares, 2000)
        delta = (counts[:, 0] - counts[:, 1]) / n
        spread = np.sqrt((counts[:, 0] + counts[:, 1]) / n**2)
        found[difference] = (np.abs(delta) > 1.96 * spread).mean()
    none, twice = found.values()
    assert none < 0.07 and twice > 0.95
    assert detectable(525) == pytest.approx(0.027, abs=0.001)


def test_folds_are_recommended_for_few_texts(check):
    _, result = check()
    assert "72 labelled texts, of which 18 are tested" in kinds(result)["few_texts"]["text"]
    assert "14.6 points" in kinds(result)["few_texts"]["text"] and "7.3 points" in kinds(result)["few_texts"]["text"]
    findings = Findings()
    many = [example(f"text {i}") for i in range(1000)]
    find_few_texts({"train": many, "dev": [], "test": many}, findings)
    assert findings.items == []


def test_near_duplicates_need_half_of_the_runs():
    words = [f"w{i}" for i in range(24)]
    held = [example(" ".join(words[:16]), "held"), example(" ".join(words[:14]), "too short to tell")]
    near, far, short = " ".join(words[:12] + ["x"] * 4), " ".join(["y"] * 10 + words[:8]), "w0 w1 w2"
    pairs = list(near_duplicates(held, [example(near, "near"), example(far, "far"), example(short, "short")]))
    assert [(a.source, b.source) for a, b in pairs] == [("held", "near")]


def test_percentiles():
    assert percentiles(range(1, 101)) == {"p50": 51, "p90": 91, "p99": 100, "p100": 100}


def test_word_pieces_are_counted_if_the_encoder_is_there(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    srsly.write_json(tmp_path / "config.json", {"max_position_embeddings": 7})
    (tmp_path / "model.safetensors").touch()
    tokenizer, limit = open_tokenizer(tmp_path.as_posix())
    assert (len(tokenizer.encode("a ab abb").ids), limit) == (6, 7)
    assert open_tokenizer("no-such-encoder-anywhere") is None
