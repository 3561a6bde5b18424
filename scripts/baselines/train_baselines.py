"""Train and measure text classifiers of other tools on the same splits: metrics/peers/PEER.json.

They show what is lost or gained without spaCy. Each has the settings that are best on dev, is stored as it would be
shipped, scored from there, and measured like a variant: in a process of its own, with one thread.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import spacy
import typer
from spacy.language import Language
from spacy.training import Corpus, Example
from wasabi import msg

from scripts.baselines.classifiers import ENCODERS, fasttext_line, load_fasttext, load_peer, squash
from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import folder_bytes, read_json, whole_file, whole_folder, write_json, write_jsonl
from scripts.common.skipping import reason_to_skip
from scripts.encoder.encoders import is_weights_folder, load_encoder, save_encoder
from scripts.evaluation.provenance import environment
from scripts.evaluation.scores import score_examples
from scripts.evaluation.speed import run_measure
from scripts.evaluation.thresholds import DEFAULT, best_threshold, given_labels, macro_f1

INSTALL = "python -m pip install -r requirements-baselines.txt"
PACKAGES = ("spacy", "numpy", "scipy", "tokenizers", "transformers")
SEEDS = 3  # runs of what depends on chance
# Each list holds what is tried on dev, simplest first: of equals the first is taken.
SVM_C = (0.1, 0.3, 1.0, 3.0, 10.0)
REGRESSION_C = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
TFIDF = (
    {"word": [1, 2]},
    {"char_wb": [3, 5]},
    {"word": [1, 2], "char_wb": [3, 5]},
)
STATIC_WIDTHS = (64, 128, 256)
FASTTEXT_WITH_VECTORS = tuple({"lr": lr, "epoch": epoch} for epoch, lr in product((5, 25, 100), (0.01, 0.03, 0.1, 0.3)))
# 50,000 n-gram buckets, since the default of 2,000,000 would take 800 MB.
FASTTEXT_ALONE = tuple(
    {"lr": lr, "epoch": epoch, "dim": 100, "minn": 3, "maxn": 5, "bucket": 50_000}
    for epoch, lr in product((25, 100), (0.25, 0.5, 1.0))
)
FASTTEXT_QUANTIZED = tuple({"dsub": dsub, "cutoff": cutoff} for dsub, cutoff in product((2, 4), (0, 5000)))
FASTTEXT_ROWS = 256  # centroids of its quantization, which need as many rows
WITHIN = 0.005  # of the best on dev: the smallest of the quantized models is taken


@dataclass(frozen=True)
class Split:
    """Texts, and their labels as bool (texts, labels)."""

    texts: list[str]
    gold: np.ndarray


@dataclass(frozen=True)
class Data:
    """What a classifier is trained on and chosen with.

    Attributes:
        train: split to train on.
        dev: split to choose settings with.
        exclusive: whether each text has exactly one label.
        vectors: word vectors of the domain, in word2vec's text format.
        encoder: folder of a pretrained encoder.
        seed: of everything random.
    """

    train: Split
    dev: Split
    exclusive: bool
    vectors: Path
    encoder: Path
    seed: int


@dataclass(frozen=True)
class Fit:
    """How a classifier came about: its settings, and the seconds that it took, without the search for them."""

    settings: dict[str, Any]
    seconds: float
    prepare_seconds: float = 0.0


@dataclass(frozen=True)
class Peer:
    """A tool.

    Attributes:
        kind: how scripts.baselines.measure_baseline loads it.
        fit: chooses settings (or takes those given) and writes a classifier into a folder.
        packages: names of the installed packages, for the metrics, by module.
        random: whether the seed matters.
        probabilities: whether the scores are meant to be probabilities, so that calibration means something.
    """

    kind: str
    fit: Callable[[Data, Path, dict[str, Any] | None], Fit]
    packages: dict[str, str]
    random: bool = False
    probabilities: bool = True


def score_on_dev(scores: np.ndarray, data: Data) -> tuple[float, float]:
    """Macro-F1 on dev, and the threshold from which on a label is given (not used where labels are exclusive)."""
    threshold = DEFAULT if data.exclusive else best_threshold(data.dev.gold, scores)
    given = given_labels(scores, None if data.exclusive else threshold)
    return float(macro_f1(data.dev.gold, given)), threshold


# Linear layers on features of a text


def fit_each(features: Any, gold: np.ndarray, fit: Callable[[Any, np.ndarray], Any]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (features, labels) and bias (labels,) of a classifier for each label; of one that all have, a bias."""
    W, b = np.zeros((features.shape[1], gold.shape[1])), np.where(gold.any(axis=0), 1.0, -1.0)
    for label, column in enumerate(gold.T):
        if len(np.unique(column)) > 1:
            found = fit(features, column)
            W[:, label], b[label] = found.coef_[0], found.intercept_[0]
    return W, b


def fit_svm(features: Any, gold: np.ndarray, strength: float, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Weights (features, labels) and bias (labels,) of linear support vector machines, one for each label."""
    from sklearn.svm import LinearSVC

    return fit_each(features, gold, LinearSVC(C=strength, random_state=data.seed).fit)


def fit_regression(features: Any, gold: np.ndarray, strength: float, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of logistic regression, the same shapes: multinomial, or one for each label."""
    from sklearn.linear_model import LogisticRegression

    def fit(targets: np.ndarray) -> Any:
        return LogisticRegression(C=strength, max_iter=2000).fit(features, targets)

    if not data.exclusive:
        return fit_each(features, gold, lambda _, column: fit(column))
    model = fit(gold.argmax(1))
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two labels scikit-learn keeps the difference
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, np.r_[-intercepts, intercepts] / 2
    return coefficients.T, intercepts


def fit_linear(
    data: Data,
    folder: Path,
    kind: str,
    options: Sequence[tuple[dict[str, Any], Callable[[Path], None]]],
    fit_head: Callable[[Any, np.ndarray, float, Data], tuple[np.ndarray, np.ndarray]],
    strengths: Sequence[float],
) -> Fit:
    """Choose features and the strength of regularization on dev, and write the classifier.

    Args:
        data: what to learn from.
        folder: where to write it.
        kind: of the features.
        options: settings of the features, and a function that writes what makes them into a folder.
        fit_head: the linear model.
        strengths: values of C, its inverse strength of regularization.
    """
    tried = []
    with tempfile.TemporaryDirectory(prefix="peer-") as name, show_progress(
        total=len(options) * len(strengths), desc=kind, unit=" fits", leave=False
    ) as progress:  # fmt: skip
        for number, (settings, write) in enumerate(options):
            candidate = Path(name) / str(number)
            candidate.mkdir()
            start = time.perf_counter()
            write(candidate)
            encode = ENCODERS[kind][0](candidate)
            train = encode(data.train.texts)
            features_seconds = time.perf_counter() - start
            dev = encode(data.dev.texts)
            for strength in strengths:
                start = time.perf_counter()
                weights, bias = (part.astype(np.float32) for part in fit_head(train, data.train.gold, strength, data))
                seconds = features_seconds + time.perf_counter() - start
                score, _ = score_on_dev(squash(dev @ weights + bias, data.exclusive), data)
                tried.append((score, candidate, weights, bias, Fit(settings | {"C": strength}, seconds)))
                progress.update()
        _, candidate, weights, bias, fit = max(tried, key=lambda one: one[0])
        shutil.copytree(candidate, folder, dirs_exist_ok=True)
    np.savez(folder / "head.npz", weights=weights, bias=bias)
    return fit


def fit_tfidf(data: Data, folder: Path, _: dict[str, Any] | None = None) -> Fit:
    """Linear support vector machine on TF-IDF of words and pieces of words."""
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    def write(settings: dict[str, list[int]], target: Path) -> None:
        parts = [
            (name, TfidfVectorizer(analyzer=name, ngram_range=tuple(sizes), sublinear_tf=True, dtype=np.float32))
            for name, sizes in settings.items()
        ]
        joblib.dump(FeatureUnion(parts).fit(data.train.texts), target / "tfidf.joblib")

    options = [(settings, partial(write, settings)) for settings in TFIDF]
    return fit_linear(data, folder, "tfidf", options, fit_svm, SVM_C)


def fit_model2vec(data: Data, folder: Path, _: dict[str, Any] | None = None) -> Fit:
    """Logistic regression on static vectors that Model2Vec distils from the encoder, 8 bits a value."""
    from model2vec import StaticModel
    from model2vec.distill import distill_from_model

    def save(model: StaticModel, folder: Path) -> None:
        # safetensors writes arrays that are not in C order, such as a PCA's, wrongly and without a word.
        model.embedding = np.ascontiguousarray(model.embedding)
        model.save_pretrained(folder)

    def write(source: Path, width: int, target: Path) -> None:
        model = StaticModel.from_pretrained(source, dimensionality=width, quantize_to="int8", force_download=False)
        save(model, target / "static")

    with_words = data.vectors.is_file() and not reason_to_skip([data.vectors])
    vocabularies = ["word pieces", *(["word pieces and words"] if with_words else [])]
    start = time.perf_counter()
    options = []
    with tempfile.TemporaryDirectory(prefix="model2vec-") as name:
        for vocabulary in show_progress(vocabularies, desc="distil", unit=" models"):
            encoder, tokenizer = open_encoder(data.encoder)
            known = tokenizer.get_vocab()
            # Model2Vec refuses words that are word pieces already; the others' punctuation it would split.
            words = None
            if vocabulary != "word pieces":
                words = [word for word in read_words(data.vectors) if word.isalpha() and word not in known]
            static = distill_from_model(
                encoder, tokenizer, vocabulary=words, device="cpu", pca_dims=max(STATIC_WIDTHS), quantize_to="float32"
            )
            source = Path(name) / vocabulary
            save(static, source)
            options += [
                ({"vocabulary": vocabulary, "width": width}, partial(write, source, width))
                for width in STATIC_WIDTHS
                if width <= static.dim
            ]
        prepare_seconds = time.perf_counter() - start
        fit = fit_linear(data, folder, "model2vec", options, fit_regression, REGRESSION_C)
    return replace(fit, prepare_seconds=prepare_seconds / len(vocabularies))


def fit_encoder(data: Data, folder: Path, _: dict[str, Any] | None = None) -> Fit:
    """Logistic regression on the mean vector of the frozen encoder, which is stored in half precision."""

    def write(target: Path) -> None:
        encoder, tokenizer = open_encoder(data.encoder)
        save_encoder(encoder.half(), tokenizer, target / "encoder")

    return fit_linear(data, folder, "encoder", [({}, write)], fit_regression, REGRESSION_C)


def open_encoder(folder: Path) -> tuple[Any, Any]:
    """The pretrained encoder that the command `weights` has found, and its tokenizer.

    Raises:
        UserError: it has not.
    """
    if not is_weights_folder(folder):
        raise UserError(
            f"{folder}: no encoder. Fetch it: python -m spacy project run weights; or name the tools that need none: "
            "--vars.baselines tfidf-svm,fasttext,fasttext-ftz"
        )
    return load_encoder(str(folder))


def read_words(vectors: Path) -> list[str]:
    """The words of a file in word2vec's text format."""
    with vectors.open(encoding="utf-8") as lines:
        next(lines)
        return [line.split(" ", 1)[0] for line in lines]


# fastText


def write_lines(path: Path, split: Split) -> None:
    """Write texts in fastText's form, with the numbers of their labels, or that of none of them."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for text, gold in zip(split.texts, split.gold, strict=True):
            labels = np.flatnonzero(gold) if gold.any() else [len(gold)]
            stream.write(" ".join([*(f"__label__{label}" for label in labels), fasttext_line(text)]) + "\n")


def fit_fasttext(data: Data, folder: Path, settings: dict[str, Any] | None = None) -> Fit:
    """Choose settings of fastText on dev, unless they are given, and write its model.

    The vectors are read as they are: fastText's own `get_word_vector` would give them all the length 1.
    """
    import fasttext

    grid = [settings] if settings else [*(FASTTEXT_WITH_VECTORS if data.vectors.is_file() else ()), *FASTTEXT_ALONE]
    tried = []
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        lines = Path(name) / "train.txt"
        write_lines(lines, data.train)
        for number, chosen in enumerate(show_progress(grid, desc="fasttext", unit=" fits")):
            options = chosen
            if "dim" not in chosen:
                with data.vectors.open(encoding="utf-8") as stream:
                    width = int(next(stream).split()[1])
                options = chosen | {"dim": width, "pretrainedVectors": str(data.vectors)}
            candidate = Path(name) / str(number)
            candidate.mkdir()
            start = time.perf_counter()
            loss = "softmax" if data.exclusive else "ova"
            model = fasttext.train_supervised(
                str(lines), loss=loss, thread=1, seed=data.seed, minCount=1, verbose=0, **options
            )
            model.save_model(str(candidate / "model.bin"))
            seconds = time.perf_counter() - start
            scores = load_fasttext(candidate, data.train.gold.shape[1])(data.dev.texts)
            tried.append((score_on_dev(scores, data)[0], candidate, Fit(chosen, seconds)))
        _, candidate, fit = max(tried, key=lambda one: one[0])
        shutil.copytree(candidate, folder, dirs_exist_ok=True)
    return fit


def fit_quantized(data: Data, folder: Path, settings: dict[str, Any] | None = None) -> Fit:
    """The same, quantized: the smallest of the models that come close to the best on dev.

    Raises:
        UserError: the model is too small for it.
    """
    import fasttext

    quantizing = set(FASTTEXT_QUANTIZED[0])
    given = {key: value for key, value in (settings or {}).items() if key not in quantizing}
    grid = [{key: settings[key] for key in quantizing}] if settings else FASTTEXT_QUANTIZED
    tried = []
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        lines, full = Path(name) / "train.txt", Path(name) / "full"
        write_lines(lines, data.train)
        base = fit_fasttext(data, full, given)
        for number, chosen in enumerate(show_progress(grid, desc="quantize", unit=" models")):
            candidate = Path(name) / str(number)
            candidate.mkdir()
            model = fasttext.load_model(str(full / "model.bin"))
            if model.get_input_matrix().shape[0] < FASTTEXT_ROWS:
                raise UserError(f"fastText quantizes models of {FASTTEXT_ROWS} words or more, and this one has fewer.")
            start = time.perf_counter()
            model.quantize(str(lines), retrain=chosen["cutoff"] > 0, qnorm=True, thread=1, verbose=0, **chosen)
            model.save_model(str(candidate / "model.ftz"))
            fit = Fit(base.settings | chosen, base.seconds + time.perf_counter() - start)
            scores = load_fasttext(candidate, data.train.gold.shape[1])(data.dev.texts)
            tried.append((score_on_dev(scores, data)[0], folder_bytes(candidate), candidate, fit))
        enough = max(score for score, *_ in tried) - WITHIN
        _, _, candidate, fit = min((one for one in tried if one[0] >= enough), key=lambda one: one[1])
        shutil.copytree(candidate, folder, dirs_exist_ok=True)
    return fit


PEERS = {
    "tfidf-svm": Peer("tfidf", fit_tfidf, {"sklearn": "scikit-learn"}, probabilities=False),
    "fasttext": Peer("fasttext", fit_fasttext, {"fasttext": "fasttext-community"}, random=True),
    "fasttext-ftz": Peer("fasttext", fit_quantized, {"fasttext": "fasttext-community"}, random=True),
    "model2vec": Peer("model2vec", fit_model2vec, {"model2vec": "model2vec", "sklearn": "scikit-learn"}),
    "frozen-encoder": Peer("encoder", fit_encoder, {"torch": "torch", "sklearn": "scikit-learn"}),
}


def choose_peers(names: str) -> list[str]:
    """The tools of a list like `tfidf-svm,fasttext`, or all.

    Raises:
        UserError: there is no such tool, or its package is not installed.
    """
    chosen = list(PEERS) if names == "all" else [name.strip() for name in names.split(",")]
    if unknown := [name for name in chosen if name not in PEERS]:
        raise UserError(f"--only {names}: there is no {unknown[0]!r}. Choose from: {', '.join(PEERS)}.")
    packages = {module: package for name in chosen for module, package in PEERS[name].packages.items()}
    if missing := sorted(package for module, package in packages.items() if find_spec(module) is None):
        raise UserError(f"Not installed: {', '.join(missing)}. Install the other tools: {INSTALL}")
    return chosen


def read_examples(nlp: Language, path: Path) -> list[Example]:
    """The texts of a DocBin, with their true labels.

    Raises:
        UserError: it is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Make it with the command `convert`.")
    return list(Corpus(path)(nlp))


def to_split(examples: Sequence[Example], labels: Sequence[str]) -> Split:
    """Texts and labels of examples."""
    gold = [[example.reference.cats[label] for label in labels] for example in examples]
    return Split([example.text for example in examples], np.array(gold, dtype=bool))


def score_peer(
    folder: Path, examples: list[Example], task: dict[str, Any], threshold: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Scores of a stored classifier, in the same way as a variant's, and its predictions."""
    scores = load_peer(folder)([example.text for example in examples])
    for example, row in zip(examples, scores, strict=True):
        example.predicted.cats = dict(zip(task["labels"], map(float, row), strict=True))
    return score_examples(examples, task["labels"], task["exclusive"], threshold)


def train_peer(
    peer: Peer, data: Data, task: dict[str, Any], folder: Path, settings: dict[str, Any] | None = None
) -> tuple[Fit, float]:
    """Write a classifier and `peer.json` into a folder; return how it came about and its threshold."""
    fit = peer.fit(data, folder, settings)
    facts = {"kind": peer.kind, "labels": task["labels"], "exclusive": task["exclusive"]}
    write_json(folder / "peer.json", facts)
    _, threshold = score_on_dev(load_peer(folder)(data.dev.texts), data)
    write_json(folder / "peer.json", facts | {"threshold": threshold})
    return fit, threshold


def score_other_seeds(peer: Peer, data: Data, task: dict[str, Any], test: list[Example], fit: Fit) -> dict[str, float]:
    """Macro-F1 on test with the same settings and other seeds."""
    found = {}
    for seed in range(data.seed + 1, data.seed + SEEDS):
        with tempfile.TemporaryDirectory(prefix="peer-") as name:
            _, threshold = train_peer(peer, replace(data, seed=seed), task, Path(name), fit.settings)
            found[str(seed)] = score_peer(Path(name), test, task, threshold)[0]["macro_f1"]
    return found


def evaluate_peer(
    name: str, data: Data, task: dict[str, Any], splits: dict[str, list[Example]], folder: Path, repeats: int
) -> dict[str, Any]:
    """Train a tool's classifier into `folder`/model, and score and measure it from there; return its metrics."""
    peer, model = PEERS[name], folder / "model"
    with whole_folder(model) as temporary:
        fit, threshold = train_peer(peer, data, task, temporary)
    dev, _ = score_peer(model, splits["dev"], task, threshold)
    scores, predictions = score_peer(model, splits["test"], task, threshold)
    if not peer.probabilities:
        scores = {key: value for key, value in scores.items() if not key.startswith("calibration")}
    seeds = {str(data.seed): scores["macro_f1"]}
    if peer.random:
        seeds |= score_other_seeds(peer, data, task, splits["test"], fit)
    texts = folder / "predictions.jsonl"
    with whole_file(texts) as path:
        write_jsonl(path, predictions)
    return {
        "variant": name,
        "dataset": task["dataset"],
        **({"fold": task["fold"]} if "fold" in task else {}),
        "seed": data.seed,
        "scores": scores,
        "seeds": seeds,
        "dev": {key: dev[key] for key in ("macro_f1", "accuracy", "documents")},
        "settings": fit.settings,
        "size": {"pipeline_bytes": folder_bytes(model)},
        **run_measure("scripts.baselines.measure_baseline", model, texts, repeats),
        "train": {"seconds": round(fit.seconds, 2), "prepare_seconds": round(fit.prepare_seconds, 2), "gpu_id": -1},
        "env": environment(None, task, (*PACKAGES, *peer.packages.values())),
    }


def train_baselines(
    metrics: Annotated[Path, typer.Argument(help="Folder of the variants' metrics; peers/PEER.json is written in it.")],
    training: Annotated[Path, typer.Option(help="Folder of models; the classifiers go to peers/PEER in it.")] = Path(
        "training"
    ),
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    only: Annotated[str, typer.Option(help="Names of tools, with commas between, or all.")] = "all",
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes over the test texts.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Train other tools' classifiers on the same splits, and score and measure them in the same way."""
    names = choose_peers(only)
    task = read_json(corpus / "task.json")
    nlp = spacy.blank(task["lang"])
    splits = {split: read_examples(nlp, corpus / f"{split}.spacy") for split in ("train", "dev", "test")}
    data = Data(
        train=to_split(splits["train"], task["labels"]),
        dev=to_split(splits["dev"], task["labels"]),
        exclusive=task["exclusive"],
        vectors=training / "vectors" / "words.txt",
        encoder=training / "weights" / "transformer",
        seed=seed,
    )
    failed = []
    for name in names:
        try:
            found = evaluate_peer(name, data, task, splits, training / "peers" / name, repeats)
        except UserError as error:
            failed.append(name)
            msg.fail(f"{name}: {error}")
            continue
        write_json(metrics / "peers" / f"{name}.json", found)
        low, high = found["scores"]["macro_f1_ci"]
        msg.good(
            f"{name}: macro-F1 {found['scores']['macro_f1']:.3f} [{low:.3f}, {high:.3f}], "
            f"{found['size']['pipeline_bytes'] / 1e6:.1f} MB, {found['speed']['docs_per_s']:,.0f} docs/s"
        )
    if failed:
        raise UserError(f"{len(failed)} of {len(names)} tools failed: {', '.join(failed)}. The others are finished.")
    msg.good(f"{metrics / 'peers'}: {len(names)} tools")


if __name__ == "__main__":
    run_cli(train_baselines)
