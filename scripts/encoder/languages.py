"""Whether an encoder was made for the language of the texts."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# By name, the first that matches counts. An encoder that none matches is judged by how it splits the texts.
MULTILINGUAL = "any"
KNOWN = (
    (r"multilingual|xlm|labse|mdeberta|mminilm|\bmbert|bge-m3", MULTILINGUAL),
    (r"german|gbert|gelectra|(^|[-_/])de([-_]|$)", "de"),
    (r"camembert|flaubert", "fr"),
    (r"beto|spanish", "es"),
    (r"rubert|russian", "ru"),
    (r"chinese", "zh"),
    (r"japanese", "ja"),
    # Sizes stand in other languages' names, too (bert-base-dutch): what follows them must be known.
    (r"minilm|mpnet|(^|[/])(distil)?(bert|roberta)-(tiny|mini|small|base|medium|large)(-(un)?cased|-v\d|-openai|$)"
     r"|distilroberta|(^|[/])electra-|deberta-v3|(^|[/])(e5|bge|gte)-(small|base|large)(-en|-v\d|$)", "en"),
)  # fmt: skip
SAMPLE_TEXTS = 500
LETTERS = r"[^\W\d_]+"
# Thai, Lao, Burmese, Khmer, kana, ideographs: without spaces between words, each character counts as one.
UNSPACED = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
MAX_PIECES = 2.0  # of a word on average: an encoder needs 1.1 to 1.6 for its own languages
MAX_UNKNOWN = 0.02  # of the pieces
ADVICE = (
    "Name one that knows it (--vars.transformer, such as paraphrase-multilingual-MiniLM-L12-v2 for many languages), or "
    "use the variants that need none: linear, vectors, floret, compact-domain (workflow without-encoder)."
)


def known_language(name: str) -> str | None:
    """The language that an encoder was made for, by its name; `any` for many, None if the name does not tell."""
    return next((lang for pattern, lang in KNOWN if re.search(pattern, name.casefold())), None)


def other_language(name: str, lang: str) -> str | None:
    """The language that an encoder's name says it was made for; None if that may be the texts' (`xx`: of any)."""
    made_for = known_language(name)
    return None if made_for in (None, MULTILINGUAL, lang) or lang == "xx" else made_for


def shattered(tokenizer: "Tokenizer", texts: Sequence[str]) -> tuple[float, float]:
    """How an encoder splits texts: pieces of a word (a run of letters), and the share of unknown pieces."""
    words = [word for text in texts[:SAMPLE_TEXTS] for word in re.findall(LETTERS, text)]
    if not words:
        return 1.0, 0.0
    unknown = {tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>")} - {None}
    # Some tokenizers cut up a word otherwise where no space stands before it.
    pieces = [piece for word in words for piece in tokenizer.encode(f" {word}", add_special_tokens=False).ids]
    n_words = sum(max(1, len(re.findall(UNSPACED, word))) for word in words)
    return len(pieces) / n_words, sum(piece in unknown for piece in pieces) / max(1, len(pieces))


def why_unfit(name: str, lang: str, tokenizer: "Tokenizer", texts: Sequence[str]) -> str | None:
    """Why an encoder does not fit the texts, with what to use instead; None if it does.

    Args:
        name: of the encoder, as the user wrote it.
        lang: spaCy's code of the texts' language; `xx` for none in particular.
        tokenizer: the encoder's.
        texts: of the task.
    """
    if other := other_language(name, lang):
        return f"The encoder {name} was made for {other!r}, lang is {lang!r}. {ADVICE}"
    if known_language(name) in (MULTILINGUAL, lang):
        return None
    pieces, unknown = shattered(tokenizer, texts)
    if pieces > MAX_PIECES or unknown > MAX_UNKNOWN:
        return (
            f"The encoder {name} splits a word of these texts into {pieces:.1f} pieces, and does not know "
            f"{unknown:.0%} of them: it was made for another language. {ADVICE}"
        )
    return None
