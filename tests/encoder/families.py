"""Tiny encoders of random weights, one of each family of models and tokenizers; they know the words of toy texts.

Their special pieces stand where those of the published models do: at the start, at the end, outside of the vocabulary.
"""

import json

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from tests.conftest import toy_records

WIDTH, POSITIONS = 32, 80
# More words than the toy texts have, so that there is something to trim; and letters beyond ASCII.
OTHER = "Zebras quarks unbelievable Überraschung naïve señor übermäßig striking banking goalkeepers marketing stars"
LEARNED = [record["text"] for record in toy_records()] + [OTHER] * 9 + ["don't stop, e.g. at 10am (or 11)!"] * 9


def word_piece(special, lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token=special["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    first = [special[name] for name in ("pad", "unk", "cls", "sep", "mask")]
    if special["cls"] == "<s>":  # MPNet
        first = [special[name] for name in ("cls", "pad", "sep", "mask", "unk")]
    first[1:1] = [] if special["cls"] == "<s>" else ["[unused0]", "[unused1]"]
    trainer = trainers.WordPieceTrainer(vocab_size=220, special_tokens=first, show_progress=False)
    tokenizer.train_from_iterator(LEARNED, trainer)
    return tokenizer


def byte_pairs(special, prefix_space, last=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    names = [special[name] for name in ("cls", "pad", "sep", "unk", "mask")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=460, special_tokens=[] if last else names, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(LEARNED, trainer)
    if last:
        tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return tokenizer


def unigram(special, names, lowercase=False, outside=()):
    tokenizer = Tokenizer(models.Unigram())
    parts = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(parts)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=list(names), unk_token=special["unk"], show_progress=False
    )
    tokenizer.train_from_iterator(LEARNED, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in outside])
    return tokenizer


def unused_first(tokenizer):
    """Put a piece of no use and the one for padding before all others."""
    state = json.loads(tokenizer.to_str())
    pieces = [["<unused>", 0.0], ["<pad>", 0.0], *state["model"]["vocab"]]
    state["model"]["vocab"], state["model"]["unk_id"] = pieces, state["model"]["unk_id"] + 2
    numbers = {piece: i for i, (piece, _) in enumerate(pieces)}
    state["added_tokens"].append(state["added_tokens"][0] | {"content": "<pad>"})
    for token in state["added_tokens"]:
        token["id"] = numbers[token["content"]]
    state["added_tokens"].sort(key=lambda token: token["id"])
    return Tokenizer.from_str(json.dumps(state))


BERT = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
ROBERTA = {"unk": "<unk>", "cls": "<s>", "sep": "</s>", "pad": "<pad>", "mask": "<mask>"}
ALBERT = BERT | {"unk": "<unk>", "pad": "<pad>"}
# Of each family: the type of its model, how its tokenizer is made, and what else its config says.
FAMILIES = {
    "bert-uncased": ("bert", BERT, lambda: word_piece(BERT, True), {}),
    "bert-cased": ("bert", BERT, lambda: word_piece(BERT, False), {}),
    "distilbert": ("distilbert", BERT, lambda: word_piece(BERT, True), {}),
    "electra": ("electra", BERT, lambda: word_piece(BERT, True), {"embedding_size": 16}),
    "mpnet": ("mpnet", ROBERTA | {"unk": "[UNK]"}, lambda: word_piece(ROBERTA | {"unk": "[UNK]"}, True), {}),
    "roberta": ("roberta", ROBERTA, lambda: byte_pairs(ROBERTA, False), {"type_vocab_size": 1}),
    "roberta-prefix": ("roberta", ROBERTA, lambda: byte_pairs(ROBERTA, True), {"type_vocab_size": 1}),
    "xlm-roberta": (
        "xlm-roberta",
        ROBERTA,
        lambda: unigram(ROBERTA, ["<s>", "<pad>", "</s>", "<unk>"], outside=["<mask>"]),
        {"type_vocab_size": 1},
    ),
    # Its first piece is of no use, and is not special: what counts positions from that for padding must not slip.
    "own-roberta": (
        "xlm-roberta",
        ROBERTA,
        lambda: unused_first(unigram(ROBERTA, ["<unk>", "<s>", "</s>", "<mask>"])),
        {"type_vocab_size": 1},
    ),
    "albert": (
        "albert",
        ALBERT,
        lambda: unigram(ALBERT, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], lowercase=True),
        {"embedding_size": 16},
    ),
    "deberta": (
        "deberta",
        BERT,
        lambda: byte_pairs(BERT, False),
        {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False},
    ),
    "deberta-v2": (
        "deberta-v2",
        BERT,
        lambda: unigram(BERT, ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], outside=["[MASK]"]),
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_buckets": 16,
        },
    ),
    "modernbert": (
        "modernbert",
        BERT,
        lambda: byte_pairs(BERT, False, last=True),
        {"global_attn_every_n_layers": 3, "local_attention": 16, "reference_compile": False},
    ),
}


def make_family(folder, name, layers=4, seed=0):
    """Write a Hugging Face folder with a tiny encoder of a family."""
    kind, special, build, more = FAMILIES[name]
    tokenizer = build()
    ends = [(special[place], tokenizer.token_to_id(special[place])) for place in ("cls", "sep")]
    if kind == "roberta":
        prefix = name == "roberta-prefix"
        tokenizer.post_processor = processors.RobertaProcessing(ends[1], ends[0], add_prefix_space=prefix)
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{ends[0][0]} $A {ends[1][0]}", special_tokens=ends
        )
    names = {f"{place}_token": piece for place, piece in special.items()}
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        kind,
        vocab_size=tokenizer.get_vocab_size() + (7 if kind == "deberta-v2" else 0),
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=POSITIONS,
        pad_token_id=tokenizer.token_to_id(special["pad"]),
        **more,
    )
    if kind == "distilbert":
        config.hidden_dim = 2 * WIDTH
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # As large as those of trained models: else a text's layers hardly differ from its pieces' vectors.
            if parameter.dim() > 1:
                parameter.mul_(3)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    model.save_pretrained(folder)
    if name not in ("modernbert", "own-roberta"):
        # As often published: the class of the tokenizer follows from the model's type.
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        del settings["tokenizer_class"]
        settings |= {"do_lower_case": name != "bert-cased", "add_prefix_space": name == "roberta-prefix"}
        path.write_text(json.dumps(settings), encoding="utf-8")
    return folder
