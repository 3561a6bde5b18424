"""In which language a data set is."""

import pkgutil
import re
import runpy
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import spacy.lang

from scripts.data.formats import AUTO, Splits
from scripts.forms.cards import split_card

DEFAULT, SEVERAL = "en", "xx"  # spaCy's codes
ENOUGH_WORDS = 500  # fewer do not tell a language
MARGIN = 1.5  # how many times more stop words another language must explain
SHARE = 0.15  # of all words, at the least
SAMPLE_TEXTS = 2000
# By the first word of their characters' names in Unicode: scripts in which one language is written more than others.
SCRIPTS = {
    "CJK": "zh", "HANGUL": "ko", "THAI": "th", "GREEK": "el", "HEBREW": "he", "ARMENIAN": "hy", "BENGALI": "bn",
    "GUJARATI": "gu", "KANNADA": "kn", "MALAYALAM": "ml", "SINHALA": "si", "TAMIL": "ta", "TELUGU": "te",
}  # fmt: skip
KANA = ("HIRAGANA", "KATAKANA")
KANA_SHARE = 0.05  # of the letters: with so many ideographs are Japanese
SAMPLE_LETTERS = 100_000
LINE = re.compile(r"(?im)^[-*]?\s*\**language\.?\**[.:]\**\s*`?([a-z]{2,3})\b")  # `- **Language.** de`


def language_codes() -> set[str]:
    """The languages that spaCy has."""
    return {module.name for module in pkgutil.iter_modules(spacy.lang.__path__) if module.ispkg}


def stop_words() -> dict[str, set[str]]:
    """The stop words of spaCy by language, for the languages that have a list."""
    # The files alone: importing their packages, with all else that they hold, takes seconds.
    paths = (path for folder in spacy.lang.__path__ for path in Path(folder).glob("*/stop_words.py"))
    return {path.parent.name: set(runpy.run_path(str(path))["STOP_WORDS"]) for path in paths}


def language_shares(words: Counter[str]) -> dict[str, float]:
    """Share of the words that are stop words of each language, highest first."""
    total = sum(words.values())
    shares = {lang: sum(words[word] for word in stops if word in words) / total for lang, stops in stop_words().items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


@cache
def word_pattern() -> re.Pattern[str]:
    """Words of two letters or more. Marks belong to them: Python takes vowels of Hindi, for one, for no letters."""
    marks = "".join(chr(i) for i in range(0x300, 0x10000) if unicodedata.category(chr(i)).startswith("M"))
    return re.compile(rf"[^\W\d_](?:[^\W\d_]|[{marks}])+")


@cache
def script_of(letter: str) -> str:
    """The script of a letter, as its name begins."""
    return unicodedata.name(letter, "").partition(" ")[0]


def likelier(shares: dict[str, float], lang: str) -> str | None:
    """Another language than `lang` that the stop words speak for; None if they do not."""
    best, share = next(iter(shares.items()))
    return best if lang in shares and share >= SHARE and share > MARGIN * shares[lang] else None


def script_language(texts: Iterable[str]) -> tuple[str | None, str]:
    """The language that the texts' letters speak for, and their script.

    None if most letters are Latin; `SEVERAL` for a script of several languages, or if spaCy's tokenizer of the only one
    needs a package that is not installed.
    """
    letters: Counter[str] = Counter()
    for text in texts:
        letters.update(script_of(char) for char in text if char.isalpha())
        if letters.total() > SAMPLE_LETTERS:
            break
    kana = sum(letters.pop(name, 0) for name in KANA)
    letters["CJK"] += kana
    ((script, n),) = letters.most_common(1)
    if script == "LATIN" or n <= letters.total() / 2:
        return None, script
    found = "ja" if script == "CJK" and kana > KANA_SHARE * n else SCRIPTS.get(script, SEVERAL)
    return found if has_tokenizer(found) else SEVERAL, script


def has_tokenizer(lang: str) -> bool:
    """Whether spaCy can cut up a language's texts; for some that takes a package of its own."""
    try:
        spacy.blank(lang)
    except ImportError:
        return False
    return True


def stated_language(folder: Path) -> str | None:
    """The language that README.md of a data set's folder names: in a line `Language: de`, or as the hub's cards do."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    card, text = split_card(text)
    names: Any = card.get("language") or LINE.findall(text)
    names = [str(name).casefold() for name in (names if isinstance(names, list) else [names])]
    if len(names) > 1:
        return SEVERAL
    return names[0] if names and names[0] in language_codes() else None


def sample_texts(splits: Splits) -> Iterable[str]:
    """Some thousand training texts, from all over them."""
    examples = splits["train"]
    return (example.text for example in examples[:: max(1, len(examples) // SAMPLE_TEXTS)])


def resolve_language(wanted: str, folder: Path, texts: Iterable[str]) -> tuple[str, str]:
    """SpaCy's code of a data set's language, and why that.

    Args:
        wanted: a code; or `auto`: what README.md of the data set says, else what the letters or the stop words clearly
            speak for, else English.
        folder: of the data set.
        texts: some thousand of it.
    """
    if wanted != AUTO:
        return wanted, "as set"
    if stated := stated_language(folder):
        return stated, f"{folder.as_posix()}/README.md says so"
    texts = list(texts)
    by_script, script = script_language(texts)
    if by_script and by_script != SEVERAL:
        return by_script, f"most letters are {script.title()}. If that is wrong: --vars.lang"
    words = Counter(word.casefold() for text in texts for word in word_pattern().findall(text))
    shares = language_shares(words) if words.total() >= ENOUGH_WORDS else {}
    if found := likelier(shares, DEFAULT) if shares else None:
        reason = f"{shares[found]:.0%} of the words are"
        if not has_tokenizer(found):
            return SEVERAL, f"{reason} stop words of {found!r}, and the package for its words is not installed"
        return found, f"{reason} its stop words. If that is wrong: --vars.lang"
    if by_script:
        remark = "" if script not in SCRIPTS else ", and the package for its words is not installed"
        return SEVERAL, f"most letters are {script.title()}{remark}. If you know better: --vars.lang"
    return DEFAULT, "nothing speaks for another one. If that is wrong: --vars.lang"
