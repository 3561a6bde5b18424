"""Build the quantized table of word vectors that `compact` reads: domain vectors ⊕ static vectors of an encoder.

The static vector of a word is what the encoder's layers give for the word alone, averaged over its pieces (the idea of
Model2Vec, https://github.com/MinishLab/model2vec), reduced by PCA. Frequent words of the domain get the first share of
the rows. The rest goes to the encoder's own word pieces, those first that the other words of the domain are made of:
from them, unknown words are put together when the pipeline runs.

Without an encoder the pieces are the beginnings and ends of words, each with the mean vector of the words it occurs in.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import whole_file
from scripts.common.skipping import pass_on, reason_to_skip, skip
from scripts.components import TABLE_PARAMS, quantize_rows, split_word, word_key
from scripts.encoder.embed import Encoder, unit_rows
from scripts.vectors.words import lower_counts

SIF = 1e-3  # the weight of a word is SIF / (SIF + its share of all words), as in Arora et al. 2017
ROW_BYTES = 8  # key (4), scale (2), weight (2); the vector adds half a byte for each value
RIDGE = 10.0  # of the map from encoder to domain vectors, whose inputs have a variance of about 0.1
MIN_MAP_COUNT = 3  # of the words that the map is fitted on: rarer ones have poor domain vectors
MIN_ROWS = 10  # fewer are no table
MIN_ENCODER_COUNT = 2  # a word that occurs once gets no row of its own
AFFIX_LENGTHS = range(2, 7)  # characters of the beginnings and ends that stand in for word pieces


def read_vectors(path: Path) -> dict[str, np.ndarray]:
    """Read word vectors in word2vec's text form: a first line `rows width`, then `word value value …`.

    Words that differ in case only are joined: the first, that is the most frequent one, is kept.

    Raises:
        UserError: the file is missing, or a line has another number of values.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Train the vectors first.")
    vectors: dict[str, np.ndarray] = {}
    with path.open(encoding="utf-8") as stream:
        try:
            width = int(stream.readline().split()[1])
        except (IndexError, ValueError):
            raise UserError(f"{path}, line 1: expected the number of rows and the width.") from None
        for number, line in enumerate(stream, 2):
            word, *values = line.rstrip().split(" ")
            if len(values) != width:
                raise UserError(f"{path}, line {number}: expected a word and {width} values, found {len(values)}.")
            vectors.setdefault(word.lower(), np.asarray(values, dtype="float32"))
    return vectors


def principal_axes(vectors: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and principal axes, shape (values, width), of row vectors; the axes' signs are fixed."""
    mean = vectors.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((vectors - mean).T.astype("float64")))
    axes = axes[:, ::-1][:, :width]
    # eigh leaves the signs open; another machine would give other ones.
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return mean, (axes * signs).astype("float32")


def reduce_width(vectors: dict[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """Words' vectors, scaled to length 1, cut to their first `width` principal axes; 0 keeps all values."""
    if not vectors or not 0 < width < len(next(iter(vectors.values()))):
        return vectors
    rows = unit_rows(np.stack(list(vectors.values())))
    mean, axes = principal_axes(rows, width)
    return dict(zip(vectors, (rows - mean) @ axes, strict=True))


# The table


def choose_pieces(words: Counter[str], pieces: dict[str, int], room: int) -> list[str]:
    """The `room` pieces that are of most use for words without a row.

    Those come first that most of `words` are made of, then the others in the encoder's own order, which is about that
    of their frequency in the language.
    """
    names = list(pieces)
    rows = {piece: row for row, piece in enumerate(names)}
    uses: Counter[str] = Counter()
    for word in words:
        uses.update({names[row] for row in split_word(word, lambda piece: rows.get(piece, -1))})
    # A piece of a single rare word is not worth more than a frequent word of the language.
    ranked = sorted((piece for piece, n in uses.items() if n > 1), key=lambda piece: (-uses[piece], rows[piece]))
    return list(dict.fromkeys([*ranked, *names]))[:room]


def affix_vectors(vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean vectors of the words that begin (`abc`) or end (`##abc`) alike, two or more; the most frequent first."""
    sums: dict[str, np.ndarray] = {}
    uses: Counter[str] = Counter()
    for word, vector in vectors.items():
        for length in AFFIX_LENGTHS:
            if len(word) > length:
                for affix in (word[:length], f"##{word[-length:]}"):
                    sums[affix] = sums.get(affix, 0) + vector
                    uses[affix] += 1
    return {affix: sums[affix] / n for affix, n in uses.most_common() if n > 1 and affix not in vectors}


def map_domain(static: np.ndarray, domain: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Predict domain vectors from static ones by ridge regression, fitted on the rows `fit`; shape of both is 2-d."""
    inputs = np.c_[static, np.ones(len(static), dtype="float32")].astype("float64")
    known = inputs[fit]
    weights = np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ domain[fit])
    return (inputs @ weights).astype("float32")


def pack_table(words: Sequence[str], vectors: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Quantize and sort by key; of words with the same key (one pair in 100,000) the first is kept."""
    keys, rows = np.unique(np.asarray(list(map(word_key, words)), dtype="uint32"), return_index=True)
    codes, scales = quantize_rows(vectors[rows])
    return {"keys": keys, "codes": codes, "scales": scales, "weights": weights[rows].astype("float16")}


def build_table(
    counts: Counter[str],
    domain: dict[str, np.ndarray],
    encoder: Encoder | None,
    encoder_width: int,
    size: int,
    word_share: float,
) -> dict[str, np.ndarray]:
    """Choose the rows within the budget, and fill them.

    Args:
        counts: words of the domain.
        domain: their vectors; may be empty if there is an encoder.
        encoder: source of static vectors.
        encoder_width: values of a static vector.
        size: bytes of the table.
        word_share: share of the rows for words of the domain; the rest is for word pieces.
    """
    domain_width = len(next(iter(domain.values()))) if domain else 0
    static_width = min(encoder_width, encoder.model.config.hidden_size) if encoder else 0
    width = domain_width + static_width
    if width % 2:
        raise UserError(f"The vectors have {width} values together; it must be an even number.")
    row_bytes = width // 2 + ROW_BYTES
    rows = size // row_bytes
    if rows < MIN_ROWS:
        raise UserError(
            f"A table of {size:,} bytes is too small: a row of {width} values takes {row_bytes}, so give it "
            f"{MIN_ROWS * row_bytes:,} or more."
        )
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    total = sum(counts.values())
    if encoder is None:
        words = [word for word in ranked if word in domain][: int(rows * word_share)]
        affixes = affix_vectors(domain)
        pieces = list(affixes)[: rows - len(words)]
        vectors = unit_rows(np.asarray([domain[w] for w in words] + [affixes[p] for p in pieces], dtype="float32"))
    else:
        words = [word for word in ranked if counts[word] >= MIN_ENCODER_COUNT][: int(rows * word_share)]
        known = set(words)
        ids = {piece: i for piece, i in encoder.pieces().items() if piece not in known}
        rare = Counter({word: counts[word] for word in ranked if word not in known})
        pieces = choose_pieces(rare, ids, rows - len(words))
        encoded = np.concatenate([encoder.encode_words(words), encoder.encode_ids([ids[p] for p in pieces])])
        # The axes of the domain's words, unless there are too few of them.
        mean, axes = principal_axes(encoded[: len(words)] if len(words) > static_width else encoded, static_width)
        vectors = unit_rows((encoded - mean) @ axes)
        if domain:
            zeros = np.zeros(domain_width)
            given = unit_rows(np.asarray([domain.get(word, zeros) for word in [*words, *pieces]], dtype="float32"))
            missing = ~given.any(axis=1)
            fit = [i for i, word in enumerate(words) if word in domain and counts[word] >= MIN_MAP_COUNT]
            given[missing] = map_domain(encoded, given, np.asarray(fit, dtype=int))[missing]
            vectors = np.concatenate([vectors, given], axis=1)
    weights = np.asarray([SIF / (SIF + counts[word] / total) for word in [*words, *pieces]])
    return pack_table([*words, *pieces], vectors, weights)


def quantize(
    counts: Annotated[Path, typer.Argument(help="How often each spelling occurs in the domain's text, JSON.")],
    output: Annotated[Path, typer.Argument(help="Table to write (.npz).")],
    vectors: Annotated[Path | None, typer.Option(help="Domain word vectors in word2vec's text form.")] = None,
    encoder: Annotated[Path | None, typer.Option(help="Folder of a pretrained encoder; left out if missing.")] = None,
    encoder_width: Annotated[int, typer.Option(help="Values of a static vector after PCA.")] = 128,
    domain_width: Annotated[int, typer.Option(help="Values of a domain vector after PCA; 0 keeps all.")] = 0,
    size: Annotated[int, typer.Option(help="Bytes of the table.")] = 3_600_000,
    word_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the rows for domain words.")] = 0.6,
) -> None:
    """Build the quantized table of word vectors for `compact`."""
    pass_on([encoder] if encoder else [], files=[output])
    missing = encoder is not None and not encoder.is_dir()
    if vectors and (reason := reason_to_skip([vectors])):
        if encoder is None or missing:
            skip(reason, files=[output])
        msg.warn(f"The table holds the encoder's vectors alone. {reason}")
        vectors = None
    domain = reduce_width(read_vectors(vectors), domain_width) if vectors else {}
    if missing:
        msg.warn(f"{encoder}: no encoder there. The table holds domain vectors alone.")
        encoder = None
    if not domain and encoder is None:
        raise UserError("Nothing to build the table from: give --vectors, --encoder, or both.")
    table = build_table(
        lower_counts(counts), domain, Encoder(str(encoder)) if encoder else None, encoder_width, size, word_share
    )
    with whole_file(output) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **table)
    source = " ⊕ ".join(name for name, used in (("encoder", encoder), ("domain vectors", domain)) if used)
    n_bytes = sum(table[name].nbytes for name in TABLE_PARAMS)
    rows, half = table["codes"].shape
    msg.good(f"{output}: {rows:,} rows × {2 * half} of {source}, {n_bytes / 1e6:.2f} MB")


if __name__ == "__main__":
    run_cli(quantize)
