"""Merge base.cfg with a variant's overlay and fill in spaCy's defaults: a plain, complete spaCy config."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from confection import ConfigValidationError
from spacy.cli._util import import_code
from spacy.util import get_lang_class, load_config, load_model_from_config, registry, resolve_dot_names
from thinc.api import Config
from wasabi import msg

from scripts.common import UserError, read_json, run_cli, write_text

# A linear model stores 4 bytes for each label and row. This leaves the pipeline well below 10 MB.
LINEAR_MODEL_BYTES = 8_000_000
MAX_NGRAM_ROWS = 262_144  # spaCy's default; more rows than this brought nothing
# From so many training texts on, `compact` learns from the order of words, too: see configs/compact.cfg.
WORD_ORDER_TEXTS = 4000
WORD_ORDER_ROWS = 8192  # for 77 labels 2.5 MB
# Units of its layer: many phrases need many; few texts teach no more than some.
HIDDEN_WIDTH, WORD_ORDER_WIDTH = 128, 512
WARMUP_SHARE = 0.1  # of all updates, while the learning rate rises
# Evaluations come a little before their time: the passes are shuffled, so that their number of batches differs by
# some percent, and the last evaluation must not fall beyond the end of the training.
EPOCH_SHARE = 0.97


def ngram_rows(n_labels: int) -> int:
    """Rows of the hashed table of `TextCatBOW.v3`, a power of two (it would round up to one anyway)."""
    rows = MAX_NGRAM_ROWS
    while rows > 1 and rows * n_labels * 4 > LINEAR_MODEL_BYTES:
        rows //= 2
    return rows


def leaves(section: dict[str, Any], path: str = "") -> Iterator[str]:
    """The dotted names of all values in nested sections."""
    for key, value in section.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from leaves(value, name)
        else:
            yield name


def set_value(config: dict[str, Any], name: str, value: Any) -> None:
    """Set the value of a dotted name; its section must exist.

    Raises:
        UserError: there is no such section.
    """
    *sections, key = name.split(".")
    for section in sections:
        if not isinstance(config.get(section), dict):
            raise UserError(f"--set {name}: the config has no section {'.'.join(sections)}.")
        config = config[section]
    config[key] = value


def count_updates(config: Config) -> int:
    """Updates of the first pass over the training corpus: the batches that the config's own batcher makes.

    Raises:
        UserError: the corpus is missing or empty.
    """
    config = config.interpolate()
    (corpus,) = resolve_dot_names(config, [config["training"]["train_corpus"]])
    batcher = registry.resolve({"batcher": config["training"]["batcher"]})["batcher"]
    try:
        updates = sum(1 for _ in batcher(corpus(get_lang_class(config["nlp"]["lang"])())))
    except (OSError, ValueError):
        updates = 0
    if not updates:
        raise UserError(f"{config['paths']['train']}: no training texts there. Make them with scripts.convert.")
    return updates


def fill_schedule(config: Config) -> None:
    """Replace the zeros of a schedule, in place, by numbers of updates that fit the corpus.

    They are `training.eval_frequency` (one epoch, or so that there are `task.evaluations` in all),
    `training.patience` (`task.patience_epochs`), and `total_steps` and `warmup_steps` of a learning rate that has them
    (all updates, and a tenth of them).
    """
    training = config["training"]
    rate = training["optimizer"]["learn_rate"]
    rate = rate if isinstance(rate, dict) else {}
    updates = count_updates(config)
    limits = (updates * training["max_epochs"], training["max_steps"])
    total = min((limit for limit in limits if limit > 0), default=0)
    task = config["task"]
    interval = total / task["evaluations"] if task["evaluations"] else updates
    for section, name, value in (
        (training, "eval_frequency", max(1, int(EPOCH_SHARE * interval))),
        (training, "patience", updates * task["patience_epochs"]),
        (rate, "total_steps", total),
        (rate, "warmup_steps", int(WARMUP_SHARE * total)),
    ):
        if section.get(name) == 0:
            section[name] = value


def compose_config(base: Path, overlay: Path, settings: dict[str, Any], parent: Path | None = None) -> Config:
    """Merge, set and fill.

    Args:
        base: the shared config.
        overlay: the variant's config; a block with another `@architectures` replaces the shared one.
        settings: dotted names and their values.
        parent: config of another variant that this one builds on; merged between the two.

    Returns:
        The filled config, with its `${…}` references kept.

    Raises:
        UserError: a file is missing, the config is not valid, or spaCy does not know a key that was written.
    """
    paths = [path for path in (base, parent, overlay) if path]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such config.")
    try:
        config = Config()
        for path in paths:
            config = config.merge(load_config(path, interpolate=False))
        for name, value in settings.items():
            set_value(config, name, value)
        filled = load_model_from_config(config.copy(), auto_fill=True, validate=False).config
        # Keys that spaCy does not know are dropped without a word; a misspelt setting must not pass for a default.
        if dropped := set(leaves(config)) - set(leaves(filled)):
            raise UserError(f"{overlay}: spaCy does not know {', '.join(sorted(dropped))}. Check the spelling.")
        fill_schedule(filled)
        load_model_from_config(filled.copy())
    except (ConfigValidationError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{overlay}: not a valid spaCy config. {error}") from None
    return filled


def task_settings(facts: dict[str, Any], seed: int, max_epochs: int) -> dict[str, Any]:
    """What every config takes from the task facts and the project's settings: dotted names and their values."""
    word_order = facts["examples"]["train"] >= WORD_ORDER_TEXTS
    settings = {
        "nlp.lang": facts["lang"],
        "task.factory": "textcat" if facts["exclusive"] else "textcat_multilabel",
        "task.exclusive": facts["exclusive"],
        "task.ngram_rows": ngram_rows(len(facts["labels"])),
        "task.hidden_width": WORD_ORDER_WIDTH if word_order else HIDDEN_WIDTH,
        "task.window_size": int(word_order),
        "task.learn_rate": 0.002 if word_order else 0.001,
        "task.phrase_rows": min(ngram_rows(len(facts["labels"])), WORD_ORDER_ROWS) if word_order else 0,
        "system.seed": seed,
    }
    if max_epochs:
        settings["training.max_epochs"] = max_epochs
    return settings


def parse_setting(text: str) -> tuple[str, Any]:
    """Split NAME=VALUE; the value is read as JSON, else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: expected NAME=VALUE, for example training.dropout=0.3.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def compose(
    overlay: Annotated[Path, typer.Argument(help="The variant's config.")],
    output: Annotated[Path, typer.Argument(help="Complete config to write.")],
    base: Annotated[Path, typer.Option(help="The shared config.")] = Path("configs/base.cfg"),
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    max_epochs: Annotated[int, typer.Option(help="Passes over the data; 0 keeps the config's own number.")] = 0,
    gpu_id: Annotated[int, typer.Option(help="GPU that will train; -1 for the CPU.")] = -1,
    set_: Annotated[list[str], typer.Option("--set", help="Any other value: SECTION.KEY=VALUE.")] = [],  # noqa: B006
    code: Annotated[Path | None, typer.Option(help="File with registered functions that the config names.")] = None,
    parent: Annotated[Path | None, typer.Option(help="Another variant's config that this one builds on.")] = None,
) -> None:
    """Write the complete config of a variant."""
    import_code(code)
    settings = task_settings(read_json(task), seed, max_epochs)
    settings["paths.log"] = (output.parent / "log.jsonl").as_posix()
    if gpu_id >= 0:
        # Only on a GPU: on a CPU mixed precision cannot be trained.
        settings["system.mixed_precision"] = True
    settings |= dict(map(parse_setting, set_))
    write_text(output, compose_config(base, overlay, settings, parent).to_str() + "\n")
    msg.good(f"{output}: {overlay.stem}, complete")


if __name__ == "__main__":
    run_cli(compose)
