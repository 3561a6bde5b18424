"""Merge the configs of a variant and fill in spaCy's defaults: a plain, complete spaCy config."""

import math
from pathlib import Path
from typing import Any

from confection import ConfigValidationError
from spacy.cli._util import import_code
from spacy.schemas import ConfigSchemaTraining
from spacy.util import (
    dict_to_dot,
    get_lang_class,
    load_model_from_config,
    registry,
    resolve_dot_names,
    set_dot_to_object,
)
from thinc.api import Config

from scripts.common.cli import UserError
from scripts.common.files import read_json, write_text
from scripts.common.variants import candidates_of, config_chain, merge_configs
from scripts.training.sizes import SIZES

WARMUP_SHARE = 0.1  # of all updates, while the learning rate rises
# Evaluations come a little before their time: the passes are shuffled, so that their number of batches differs by
# some percent, and the last evaluation must not fall beyond the end of the training.
EPOCH_SHARE = 0.97
MAX_EVALUATIONS = 60  # where a config does not say how many, and passes are more


def count_updates(config: Config) -> int:
    """Updates of the first pass over the training corpus: the batches that the config's own batcher makes.

    Args:
        config: interpolated.

    Raises:
        UserError: the corpus is missing or empty.
    """
    (corpus,) = resolve_dot_names(config, [config["training"]["train_corpus"]])
    batcher = registry.resolve({"batcher": config["training"]["batcher"]})["batcher"]
    try:
        updates = sum(1 for _ in batcher(corpus(get_lang_class(config["nlp"]["lang"])())))
    except (OSError, ValueError):
        updates = 0
    if not updates:
        raise UserError(f"{config['paths']['train']}: no training texts there. Make them with the command `convert`.")
    return updates


def fill_schedule(config: Config) -> None:
    """Replace the zeros of a schedule, in place, by numbers of updates that fit the corpus.

    There are `task.min_updates` at the least, by more passes if need be. The numbers are `training.eval_frequency` (one
    pass, or some where passes are many; or so that there are `task.evaluations` in all), `training.patience`
    (`task.patience_epochs`, and `task.min_patience` at the least), and `total_steps` and `warmup_steps` of a learning
    rate that has them (all updates, and a tenth of them).
    """
    plain = config.interpolate()
    updates = count_updates(plain)
    # Few texts need more passes: an update moves a parameter by about the learning rate, no more.
    if plain["training"]["max_epochs"] > 0:
        passes = max(plain["training"]["max_epochs"], math.ceil(plain["task"]["min_updates"] / updates))
        plain["training"]["max_epochs"] = config["training"]["max_epochs"] = passes
    limits = (updates * plain["training"]["max_epochs"], plain["training"]["max_steps"])
    total = min((limit for limit in limits if limit > 0), default=0)
    task, training = plain["task"], config["training"]
    rate = training["optimizer"]["learn_rate"]
    rate = rate if isinstance(rate, dict) else {}
    # Of a few dozen texts there are thousands of passes, and each evaluation writes the pipeline.
    interval = total / task["evaluations"] if task["evaluations"] else max(updates, total / MAX_EVALUATIONS)
    for section, name, value in (
        (training, "eval_frequency", max(1, int(EPOCH_SHARE * interval))),
        (training, "patience", max(updates * task["patience_epochs"], task["min_patience"])),
        (rate, "total_steps", total),
        (rate, "warmup_steps", int(WARMUP_SHARE * total)),
    ):
        if section.get(name) == 0:
            section[name] = value


def set_values(config: Config, values: dict[str, Any]) -> None:
    """Set the values of dotted names, in place; their sections must exist.

    Raises:
        UserError: there is no such section.
    """
    for name, value in values.items():
        try:
            set_dot_to_object(config, name, value)
        except KeyError:
            raise UserError(f"{name}: the config has no section {name.rpartition('.')[0]}.") from None


def with_linear(config: Config) -> None:
    """Let the linear model have a say, in place: the text classifier's model becomes one of two."""
    component = config["components"]["textcat"]
    component["model"] = {
        "@architectures": "textcat_ladder.TextCatWithLinear.v1",
        "exclusive_classes": "${task.exclusive}",
        "model": component["model"],
    }


def compose_config(overlay: Path, settings: dict[str, Any], configs: Path | None = None) -> Config:
    """Merge a variant's config with its ancestors', set and fill.

    Args:
        overlay: the variant's config; a block with another `@architectures` replaces the inherited one.
        settings: dotted names and their values.
        configs: folder of the ancestors; that of `overlay` if not given.

    Returns:
        The filled config, with its `${…}` references kept.

    Raises:
        UserError: a file is missing, the config is not valid, or spaCy does not know a key that was written.
    """
    config, variant = merge_configs(config_chain(overlay, configs))
    try:
        set_values(config, settings)
        if variant.get("linear"):
            with_linear(config)
        filled = load_model_from_config(config.copy(), auto_fill=True, validate=False).config
        # Keys that spaCy does not know are dropped without a word; a misspelt setting must not pass for a default.
        if dropped := dict_to_dot(config).keys() - dict_to_dot(filled).keys():
            raise UserError(f"{overlay}: spaCy does not know {', '.join(sorted(dropped))}. Check the spelling.")
        fill_schedule(filled)
        load_model_from_config(filled.copy())
        # Its own logger would make a folder.
        training = filled.interpolate()["training"] | {"logger": {"@loggers": "spacy.ConsoleLogger.v1"}}
        registry.resolve(training, schema=ConfigSchemaTraining)
    except (ConfigValidationError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{overlay}: not a valid spaCy config. {str(error).strip():.500}") from None
    return filled


def task_settings(facts: dict[str, Any]) -> dict[str, Any]:
    """What every config takes from the task facts, those that convert wrote: dotted names and their values."""
    return {
        "nlp.lang": facts["lang"],
        "task.factory": "textcat" if facts["exclusive"] else "textcat_multilabel",
        "task.exclusive": facts["exclusive"],
    }


def size_settings(facts: dict[str, Any], sizes: str | None, config: dict[str, Any]) -> dict[str, Any]:
    """What a variant's rule for its sizes makes of the task facts: dotted names and their values.

    Args:
        facts: those that convert wrote, task.json.
        sizes: the rule, a name in `SIZES`; None if the variant has none.
        config: the variant's merged config.

    Raises:
        UserError: there is no such rule.
    """
    if sizes is None:
        return {}
    if sizes not in SIZES:
        raise UserError(f"[variant] sizes = {sizes!r} is unknown. Choose {', '.join(SIZES)}.")
    return {f"task.{name}": value for name, value in SIZES[sizes](facts, config).items()}


def read_paths(config: Config, corpus: Path, training: Path) -> dict[str, Any]:
    """The section `[paths]` of a merged config, references to it and to `[task]` resolved, for a data set's folders."""
    folders = {"corpus": corpus.as_posix(), "training": training.as_posix()}
    return dict(Config({"paths": config["paths"] | folders, "task": config["task"]}).interpolate()["paths"])


def write_config(
    overlay: Path,
    output: Path,
    corpus: Path,
    training: Path,
    seed: int,
    max_epochs: int = 0,
    gpu_id: int = -1,
    settings: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the complete config of a variant, and import the registered functions that it names.

    Args:
        overlay: the variant's config.
        output: complete config to write; the log of the training goes beside it.
        corpus: folder that convert wrote.
        training: folder of what is trained on it.
        seed: of everything random.
        max_epochs: passes over the data; 0 keeps the config's own number.
        gpu_id: GPU that will train; -1 for the CPU.
        settings: any other values by dotted names.
        facts: of the task, if not those of the corpus.

    Returns:
        The section `[variant]`, merged.
    """
    config, variant = merge_configs(config_chain(overlay))
    import_code(variant.get("code"))
    config["paths"] = read_paths(config, corpus, training)
    set_values(config, settings or {})
    facts = facts or read_json(corpus / "task.json")
    values = task_settings(facts) | size_settings(facts, variant.get("sizes"), config)
    values |= {"paths.corpus": corpus.as_posix(), "paths.training": training.as_posix()}
    values |= {"system.seed": seed, "paths.log": (output.parent / "log.jsonl").as_posix()}
    # One update changes nothing where all is learned before (linear, transformer-int8), and more take time only.
    if max_epochs and config["training"].get("max_steps") != 1:
        # What the user says is not cut off by a number of updates.
        values |= {"training.max_epochs": max_epochs, "training.max_steps": 0, "task.min_updates": 0}
    if gpu_id >= 0 and "mixed_precision" in config["system"]:
        # Only on a GPU: on a CPU mixed precision cannot be trained.
        values["system.mixed_precision"] = True
    write_text(output, compose_config(overlay, values | (settings or {})).to_str() + "\n")
    return variant


def write_candidates(
    overlay: Path,
    folder: Path,
    corpus: Path,
    training: Path,
    seed: int,
    max_epochs: int = 0,
    gpu_id: int = -1,
    settings: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
) -> tuple[list[Path], dict[str, Any]]:
    """Write the complete configs of all that a variant tries, FOLDER/CANDIDATE.cfg; that of itself if it names none.

    A candidate's values count for more than `settings`; the arguments are those of `write_config`.

    Returns:
        The configs in the order of the candidates, and the section `[variant]`, merged.
    """
    _, variant = merge_configs(config_chain(overlay))
    tried = candidates_of(variant, overlay.stem)
    for name, values in tried.items():
        own = (settings or {}) | values
        write_config(overlay, folder / f"{name}.cfg", corpus, training, seed, max_epochs, gpu_id, own, facts)
    return [folder / f"{name}.cfg" for name in tried], variant
