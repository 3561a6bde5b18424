"""A stable sample of the sentences of raw text."""

from collections.abc import Iterable, Iterator

import spacy
from spacy.util import minibatch

from scripts.common.files import md5_bytes

MIN_WORDS = 3
MAX_WORDS = 40  # longer sentences are rarely sentences
BATCH = 1000  # texts after which spaCy forgets their words


def sentences(raw: Iterable[str], lang: str) -> Iterator[str]:
    """The sentences of `MIN_WORDS` to `MAX_WORDS` tokens, in their order."""
    nlp = spacy.blank(lang)
    nlp.add_pipe("sentencizer")
    for batch in minibatch(raw, BATCH):
        with nlp.memory_zone():
            docs = nlp.pipe(batch)
            found = [one.text.strip() for doc in docs for one in doc.sents if MIN_WORDS <= len(one) <= MAX_WORDS]
        yield from found


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
