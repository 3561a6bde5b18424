"""A stable sample of the sentences of raw text."""

from collections.abc import Iterable, Iterator

import spacy

from scripts.common.files import md5_bytes

MIN_WORDS = 3
MAX_WORDS = 40  # longer sentences are rarely sentences


def sentences(raw: Iterable[str], lang: str) -> Iterator[str]:
    """The sentences of `MIN_WORDS` to `MAX_WORDS` tokens, in their order."""
    nlp = spacy.blank(lang)
    nlp.add_pipe("sentencizer")
    for doc in nlp.pipe(raw):
        for sentence in doc.sents:
            if MIN_WORDS <= len(sentence) <= MAX_WORDS:
                yield sentence.text.strip()


def text_key(text: str) -> str:
    """The name of a text in the cache."""
    return md5_bytes([text.encode("utf-8")])


def choose(texts: Iterable[str], limit: int) -> list[str]:
    """At most `limit` different texts in the order of their hashes: a sample that hardly moves when texts are added."""
    chosen: dict[str, str] = {}
    for text in texts:
        chosen[text_key(text)] = text
        if len(chosen) > 2 * limit:  # so that memory does not grow with the texts
            chosen = dict(sorted(chosen.items())[:limit])
    return [text for _, text in sorted(chosen.items())[:limit]]
