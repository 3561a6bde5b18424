"""Texts in other languages, with and without spaces between words: recognised, split, and learned without an encoder.

What the tokenizer of a language needs is not installed with the project: without it, one sentence says so.
"""

from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly

from scripts.common.files import read_json
from scripts.components import LINEAR_ROWS
from scripts.data.language import resolve_language, script_language
from scripts.linear.svm import fit_linear
from tests.conftest import message

# Words of two topics, and frequent ones; texts of the languages in NO_SPACES are written without spaces.
WORDS = {
    "de": (
        "Spiel Tor Trainer Mannschaft Pokal Liga",
        "Bank Aktie Gewinn Börse Zinsen Umsatz",
        "der die und in das mit von für nicht ein auf ist",
    ),
    "zh": (
        "比赛 进球 教练 球队 奖杯 联赛",
        "银行 股票 利润 市场 利率 销售",
        "的 了 在 是 和 也 就 都 不 有 他们 我们",
    ),
    "ja": (
        "試合 ゴール 監督 チーム 選手 リーグ",
        "銀行 株式 利益 市場 金利 売上",
        "の は が を に で と も です ます した この",
    ),
    "ru": (
        "матч гол тренер команда кубок лига",
        "банк акции прибыль рынок ставка цена",
        "и в на не с что как по это из для от",
    ),
    "ar": (
        "مباراة هدف مدرب فريق كأس دوري",
        "بنك أسهم أرباح سوق مبيعات سعر",
        "في من على إلى أن عن مع هذا ما التي قد كان",
    ),
    "hi": (
        "मैच गोल कोच टीम खिलाड़ी लीग",
        "बैंक शेयर मुनाफा बाजार ब्याज कीमत",
        "और का की के में है से को पर यह हैं नहीं",
    ),
    "ko": (
        "경기 골 감독 팀 선수 리그",
        "은행 주식 이익 시장 금리 매출",
        "그리고 이 그 저 것 수 등 및 에서 으로 하는 있다",
    ),
    "th": (
        "การแข่งขัน ประตู โค้ช ทีม ถ้วย ลีก",
        "ธนาคาร หุ้น กำไร ตลาด ดอกเบี้ย ราคา",
        "และ ที่ ใน ของ เป็น มี ไม่ ได้ จะ ว่า ให้ กับ",
    ),
    "el": (
        "αγώνας γκολ προπονητής ομάδα κύπελλο νίκη",
        "τράπεζα μετοχές κέρδος αγορά τόκος πωλήσεις",
        "και το να του η την της με που για από",
    ),
}
NO_SPACES = ("zh", "ja", "th")
PACKAGES = {"ja": "sudachipy", "ko": "natto-py", "th": "pythainlp"}


def records(lang, n=200):
    """Texts of two labels, which most of their words tell."""
    rng = np.random.default_rng(0)
    *topics, frequent = (words.split() for words in WORDS[lang])
    between, end = ("", "。") if lang in NO_SPACES else (" ", ".")
    rows = []
    for i in range(n):
        words = [
            rng.choice(frequent if draw < 0.45 else topics[i % 2 if draw < 0.9 else 1 - i % 2])
            for draw in rng.random(rng.integers(6, 16))
        ]
        rows.append({"text": between.join(words) + end, "label": ("sport", "money")[i % 2]})
    return rows


def can_split(lang):
    try:
        return bool(spacy.blank(lang))
    except ImportError:
        return False


@pytest.mark.parametrize("lang", WORDS)
def test_the_language_is_recognised(lang):
    texts = [record["text"] for record in records(lang)]
    assert resolve_language("auto", Path("nowhere"), texts)[0] == (lang if can_split(lang) else "xx")


def test_a_script_must_be_that_of_most_letters():
    assert script_language(["the goal of 北京 and the coach"]) == (None, "LATIN")
    assert script_language(["東京で試合がある", "試合 監督 選手"])[0] == ("ja" if can_split("ja") else "xx")
    assert script_language(["", "42 !"])[0] is None


@pytest.mark.parametrize("lang", [lang for lang in PACKAGES if not can_split(lang)])
def test_a_missing_package_is_named(lang, toy_assets, run, tmp_path):
    srsly.write_jsonl(toy_assets / "train.jsonl", records(lang))
    said = message(run("convert", "toy", "corpus", "--lang", lang))
    assert f"lang '{lang}'" in said and PACKAGES[lang] in said.casefold() and "xx for any other language" in said
    assert not (tmp_path / "corpus" / "train.spacy").exists()


@pytest.mark.parametrize("lang", ["zh", "ja", "th"])
def test_linear_reads_texts_without_spaces(lang):
    """Whether the tokenizer gives characters (zh) or, without a package, whole sentences (xx)."""
    nlp = spacy.blank(lang if can_split(lang) else "xx")
    rows = records(lang, 300)
    docs = [nlp.make_doc(record["text"]) for record in rows]
    gold = np.array([[float(record["label"] == label) for label in ("money", "sport")] for record in rows])
    fit = fit_linear(docs, gold, True)
    assert (fit.logits.argmax(1) == gold.argmax(1)).mean() > 0.9, "texts that were left out"
    pieces = fit.arrays["keys"] >= LINEAR_ROWS // 2
    assert pieces.any() == (lang != "zh"), "those of words of one character would say the same twice"


def test_a_long_text_without_spaces_is_read_to_its_end():
    """Of a language whose words nothing splits, a sentence is one word."""
    rows = records("ja", 120)
    nlp = spacy.blank("xx")
    docs = [nlp.make_doc("これはそのことです" * 150 + record["text"]) for record in rows]
    assert max(len(token) for doc in docs for token in doc) > 1300
    gold = np.array([[float(record["label"] == label) for label in ("money", "sport")] for record in rows])
    assert (fit_linear(docs, gold, True).logits.argmax(1) == gold.argmax(1)).mean() > 0.9, "texts that were left out"


@pytest.mark.long
@pytest.mark.parametrize("lang", WORDS)
def test_what_needs_no_encoder_learns_it(lang, toy_assets, run, tmp_path, make_variant):
    make_variant("unused", "bow")  # with a copy of the others
    (toy_assets / "raw.jsonl").unlink()
    srsly.write_jsonl(toy_assets / "train.jsonl", records(lang, 500))
    chosen = lang if can_split(lang) else "xx"

    def do(verb, *arguments):
        process = run(verb, *arguments)
        assert process.returncode == 0, process.output
        return process.output

    do("convert", "toy", "corpus", "--lang", chosen)
    said = do("check", "toy", "corpus/check.json", "--lang", chosen)
    assert "Correct it: --vars.lang" not in said
    do("fit_linear", "corpus/train.spacy", "corpus/dev.spacy", "training/linear/linear.npz")
    do("tokenize_raw", "corpus/raw.jsonl", "corpus/tokens.txt", "corpus/counts.json")
    words = ("training/vectors/words.txt", "training/vectors/spellings.json")
    do("learn_vectors", "corpus/tokens.txt", "corpus/counts.json", *words, "--min-count", 1)
    do("load_vectors", *words, "training/vectors/table")
    floret = ("training/floret/table.floret", "training/floret/table")
    do("learn_floret", "corpus/tokens.txt", "corpus/counts.json", *floret, "--min-count", 1, "--buckets", 2000)
    do("quantize", "corpus/counts.json", "training/compact-domain/table.npz", "--vectors", words[0])
    rights = {}
    for name, epochs in (("linear", 1), ("vectors", 8), ("floret", 8), ("compact-domain", 20)):
        do("train", name, "--max-epochs", epochs)
        nlp = spacy.load(tmp_path / "training" / name / "model-best")
        rows = records(lang, 500)
        cats = [doc.cats for doc in nlp.pipe(row["text"] for row in rows)]
        rights[name] = np.mean([max(c, key=c.get) == row["label"] for c, row in zip(cats, rows, strict=True)])
    print(lang, chosen, {name: f"{right:.2f}" for name, right in rights.items()})
    assert read_json(tmp_path / "corpus" / "task.json")["lang"] == chosen
    # Whole sentences have no vectors: where the tokenizer cannot split, only pieces of words are left.
    known = ("linear",) if chosen == "xx" and lang in NO_SPACES else rights
    assert min(rights[name] for name in known) > 0.85, rights
