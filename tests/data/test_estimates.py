"""What the variants will take, by a probe: all that can be made on the data, and none that cannot."""

import srsly

from scripts.data.convert import convert
from scripts.data.estimates import PROBED, estimate
from tests.conftest import ROOT, toy_records


def test_without_an_encoder_only_what_needs_none_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.data.estimates.PROBE_SECONDS", 0.1)
    # What is left takes some seconds less.
    monkeypatch.setattr("scripts.data.estimates.PROBED", [what for what in PROBED if what[0] != "cnn"])
    folder = tmp_path / "assets" / "toy"
    folder.mkdir(parents=True)
    srsly.write_jsonl(folder / "train.jsonl", toy_records())
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    convert("toy", tmp_path / "corpus", assets=tmp_path / "assets", project=tmp_path / "project.yml")
    facts = srsly.read_json(tmp_path / "corpus" / "task.json")
    found = {known.variant: known for known in estimate(facts, tmp_path / "corpus", ROOT / "configs", None)}
    assert set(found) == {"bow", "compact-domain"}
    # Both that compact tries are trained, at 2,500 updates each: that cannot take less than some seconds.
    assert found["compact-domain"].minutes > found["bow"].minutes > 0
    assert found["compact-domain"].minutes > 5 / 60 and found["compact-domain"].memory_bytes > 1e8
