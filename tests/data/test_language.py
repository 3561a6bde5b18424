"""In which language a data set is: as set, as README.md says, or as its words do."""

from collections import Counter

import pytest
import srsly

from scripts.data import language
from scripts.data.language import language_shares, resolve_language, stated_language
from tests.conftest import ROOT

GERMAN = "der Trainer und die Mannschaft haben das Spiel nicht gewonnen, weil sie zu spät auf dem Platz waren"
ENGLISH = "the coach and the team did not win the match because they were too late on the pitch"


@pytest.mark.parametrize(
    ("readme", "found"),
    [
        ("# Ours\n\n- **Language.** `de`.\n- **Licence.** CC0\n", "de"),
        ("Language: fr\n", "fr"),
        ("---\nlanguage: de\nlicense: mit\n---\n# Card\n", "de"),
        ("---\nlanguage:\n- nl\n---\n", "nl"),
        ("---\nlanguage: [de, fr]\n---\n", "xx"),
        ("---\nlanguage: klingon\n---\n", None),
        ("---\nbroken: [\n---\n", None),
        ("# Ours\n\nThe language is not told.\n", None),
        ("- **Language.** German\n", None),
    ],
)
def test_what_a_readme_states(tmp_path, readme, found):
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    assert stated_language(tmp_path) == found


def test_a_setting_counts_more_than_a_readme_and_that_more_than_words(tmp_path):
    texts = [GERMAN] * 60
    assert resolve_language("auto", tmp_path, texts)[0] == "de"
    (tmp_path / "README.md").write_text("Language: nl\n", encoding="utf-8")
    assert resolve_language("auto", tmp_path, texts)[0] == "nl"
    assert resolve_language("fr", tmp_path, texts) == ("fr", "as set")


@pytest.mark.parametrize("texts", [[ENGLISH] * 60, [GERMAN], ["x1 y2 z3"] * 900, ["7 + 8"] * 99, []])
def test_english_unless_the_words_speak_clearly(tmp_path, texts):
    assert resolve_language("auto", tmp_path, texts)[0] == "en"


def test_a_language_whose_tokenizer_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "has_tokenizer", lambda lang: lang != "de")
    found, reason = resolve_language("auto", tmp_path, [GERMAN] * 60)
    assert found == "xx" and "'de', and the package for its words is not installed" in reason


def test_the_published_data_sets_state_theirs():
    found = {path.parent.name: stated_language(path.parent) for path in (ROOT / "assets").glob("*/README.md")}
    assert found.pop("gnad") == "de"
    assert len(found) >= 6 and set(found.values()) == {"en"}


def test_stop_words_tell_languages_apart():
    for text, lang in ((GERMAN, "de"), (ENGLISH, "en")):
        assert next(iter(language_shares(Counter(text.split())))) == lang


def test_convert_says_which_language_and_why(toy_assets, run, tmp_path):
    records = [{"text": f"{GERMAN} {i}", "label": "ab"[i % 2]} for i in range(80)]
    srsly.write_jsonl(toy_assets / "train.jsonl", records)
    process = run("convert", "toy", "corpus")
    assert "Language de: " in process.output and "If that is wrong: --vars.lang" in process.output
    assert srsly.read_json(tmp_path / "corpus" / "task.json")["lang"] == "de"
    assert "Language en: as set" in run("convert", "toy", "corpus", "--lang", "en").output
    assert srsly.read_json(tmp_path / "corpus" / "task.json")["lang"] == "en"
