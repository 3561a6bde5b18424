"""What each setting of project.yml may be: looked at before any work is done, at the start of every step.

weasel passes over a name that it does not know, and fills in whatever value it is given. What it was given stands in
the command line of the process that started this one, and in WEASEL_CONFIG_OVERRIDES.

This module can refuse a run, and has no other part in what is made: it is not among the `deps` of a command.
"""

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import srsly
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12
from weasel.util.config import parse_config_overrides

from scripts.common.cli import UserError
from scripts.common.damage import check_inputs
from scripts.common.locks import NAME

SECTION = "vars"
UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')  # ends a quoted word of a script line, or the line
PLAIN = re.compile(r"[\w.,:+@%/-]+")
FREE = "none"  # of fold: the usual split


def as_text(value: Any) -> Any:
    """A number that stands for a name, as it was written."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_text(value: str) -> str:
    """Make sure that a value stays one word of a script line, whatever shell or system it passes."""
    if not value.strip():
        raise ValueError("must not be empty; leave it out, or see project.yml for the word that means nothing")
    if value.startswith("-"):
        raise ValueError(f"must not begin with a dash; of a file, write ./{value}")
    if found := UNSAFE.search(value):
        raise ValueError(f"must not hold {found[0]!r}; between folders write /")
    return value


def check_plain(value: str) -> str:
    """Make sure that a value is a word."""
    if not PLAIN.fullmatch(value):
        raise ValueError("must be one word, of letters, digits and .,:+@%/_-")
    return value


def check_name(value: str) -> str:
    """Make sure that a value can be the name of a file or folder."""
    if not NAME.fullmatch(value):
        raise ValueError("must be a name, of letters, digits and . _ -")
    return value


def check_names(value: str) -> str:
    """Make sure that a value is names, joined by commas."""
    if not all(NAME.fullmatch(name.strip()) for name in value.split(",")):
        raise ValueError("must be names, joined by commas: a,b,c")
    return value


def check_place(value: str) -> str:
    """Make sure that a value can be the name of a file or folder, with those of folders that it is in."""
    if not all(map(NAME.fullmatch, value.split("/"))):
        raise ValueError("must be a name, of letters, digits and . _ -")
    return value


def check_separator(value: str) -> str:
    """Make sure that a value stays one word of a script line; it may be white space or a dash."""
    if not value or UNSAFE.search(value):
        raise ValueError('must be one or more characters, none of them a tab, " or a backslash')
    return value


def check_version(value: Any) -> Any:
    """Make sure that pip understands a version."""
    if not isinstance(value, str):
        raise ValueError("reads as a number; give it three parts, such as 1.0.0")
    try:
        Version(value)
    except InvalidVersion:
        raise ValueError("must be numbers such as 1.0.0") from None
    return value


Text = Annotated[str, BeforeValidator(as_text), AfterValidator(check_text)]
Plain = Annotated[Text, AfterValidator(check_plain)]
Name = Annotated[Text, AfterValidator(check_name)]
Count = Annotated[int, Field(strict=True, ge=1)]
NotNegative = Annotated[int, Field(strict=True, ge=0)]
Values = Annotated[int, Field(strict=True, ge=1, le=4096)]  # of a vector
TableBytes = Annotated[int, Field(strict=True, ge=10_000, le=10_000_000_000)]


class Settings(TypedDict, total=False):
    """The settings of project.yml. What further ones are there, for commands of a user's own, may be anything."""

    dataset: Name
    lang: Name
    format: Plain
    text_column: Text
    label_column: Text
    label_separator: Annotated[str, BeforeValidator(as_text), AfterValidator(check_separator)]
    mode: Literal["auto", "single", "multi", "binary"]
    fold: Plain
    folds: Annotated[int, Field(strict=True, ge=2)]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)]
    max_epochs: NotNegative
    repeats: Count
    gpu_id: Annotated[int, Field(strict=True, ge=-1)]
    grid: Name
    of_grid: Annotated[Plain, AfterValidator(check_names)]
    workers: Count
    engine: Literal["local", "ray"]
    address: Text
    gpu_share: Annotated[float, Field(gt=0)]
    reference: Text
    vectors_model: Literal["skipgram", "cbow", "fasttext"]
    vectors_dim: Values
    vectors_window: Count
    vectors_epochs: Count
    vectors_min_count: Count
    vectors_workers: Count
    pruned_rows: Count
    floret_model: Literal["skipgram", "cbow"]
    floret_dim: Values
    floret_buckets: Count
    floret_hashes: Annotated[int, Field(strict=True, ge=1, le=4)]
    floret_min_n: Count
    floret_max_n: Count
    floret_epochs: Count
    floret_threads: Annotated[int, Field(strict=True, ge=10)]
    pretrain_epochs: Count
    transformer: Text
    transformer_layers: Count
    transformer_pieces: NotNegative
    transformer_large: Text
    teacher: Plain
    int8_bytes: TableBytes
    distilled_bytes: TableBytes
    compact_bytes: TableBytes
    compact_small_bytes: TableBytes
    encoded_texts: Count
    encoded_epochs: Count
    taught_sentences: Count
    taught_texts: Count
    baselines: Plain
    variant: Annotated[Text, AfterValidator(check_place)]
    curve_repeats: Count
    input: Text
    output: Text
    input_format: Plain
    formulas: Literal["neutral", "raw"]
    processes: Count
    annotate_texts: Count
    committee: Annotated[Plain, AfterValidator(check_names)]
    version: Annotated[Any, AfterValidator(check_version)]
    license: Text
    remote: Text
    commit: Text
    play_address: Text
    play_port: Annotated[int, Field(strict=True, ge=1, le=65535)]


SETTINGS = TypeAdapter(Settings)
MUST = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "literal_error": "must be {expected}",
    "string_type": "must be text; in quotes of both kinds, '\"…\"', whatever it is stays text",
    "value_error": "{error}",
}


def faults(values: dict[str, Any]) -> Iterator[str]:
    """What is wrong with settings, a sentence each."""
    try:
        SETTINGS.validate_python(values)
    except ValidationError as error:
        for fault in error.errors():
            must = MUST.get(fault["type"], fault["msg"]).format(**fault.get("ctx", {}))
            yield f"{SECTION}.{fault['loc'][0]} {fault['input']!r:.80}: {must}."
        return
    folds, fold = values.get("folds", 0), str(values.get("fold", FREE))
    if fold != FREE and not (fold.isdecimal() and int(fold) < folds):
        yield f"{SECTION}.fold {fold!r:.80}: must be {FREE!r}, or from 0 to {folds - 1} ({SECTION}.folds is {folds})."
    least, most = values.get("floret_min_n", 0), values.get("floret_max_n", 0)
    if least > most:
        yield f"{SECTION}.floret_min_n {least}: must not be more than {SECTION}.floret_max_n, which is {most}."


def no_setting(name: str, known: Iterable[str]) -> str:
    """What to say of a setting that does not exist, and of the one that is probably meant."""
    close = get_close_matches(name, known, n=1)
    hint = f"Do you mean {SECTION}.{close[0]}?" if close else "Those that there are stand in project.yml."
    return f"There is no setting {SECTION}.{name}. {hint}"


def check_settings(values: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Make sure that the settings exist, and are what they may be.

    Args:
        values: those of project.yml, by name.
        overrides: what was set for this run, by dotted name.

    Raises:
        UserError: they are not; the message says what is wrong with each.
    """
    given = {name.removeprefix(f"{SECTION}."): value for name, value in overrides.items()
             if name.startswith(f"{SECTION}.")}  # fmt: skip
    found = [no_setting(name, values) for name in sorted(given.keys() - values.keys())]
    if found := found + list(faults(values | given)):
        raise UserError(" ".join(found))


# What weasel was given


def overriding_words(words: list[str]) -> list[str]:
    """The words of a command line that override something, `--section.name value` or `--section.name=value`."""
    found, waiting = [], list(words)
    while waiting:
        word = waiting.pop(0)
        if re.match(r"--[\w-]+\.", word):
            found.append(word)
            if "=" not in word and waiting and not waiting[0].startswith("--"):
                found.append(waiting.pop(0))
    return found


def weasels_words() -> list[str] | None:
    """The command line of the weasel that has started this process; None if none has, or the system does not tell."""
    process: psutil.Process | None = psutil.Process()
    # On Windows, the python.exe of a virtual environment starts another one.
    for _ in range(2 if os.name == "nt" else 1):
        try:
            process = process and process.parent()
            words = process.cmdline() if process else []
        except psutil.Error:
            return None
        if "run" in words and {"spacy", "weasel"} & {Path(word).stem for word in words}:
            return words
    return None


def read_project(path: Path) -> dict[str, Any]:
    """The contents of project.yml, variables not filled in."""
    return srsly.read_yaml(path) or {}


def check_run() -> None:
    """Check the settings of the weasel that has started this process, if one has, and what this step reads.

    Raises:
        UserError: one does not exist, or is not what it may be; or something read is not what was made.
    """
    path, words = Path("project.yml"), weasels_words()
    if words is None or not path.is_file():
        return
    project = read_project(path)
    values, overrides = project.get(SECTION) or {}, parse_config_overrides(overriding_words(words))
    check_settings(values, overrides)
    check_inputs(project, values | {name.removeprefix(f"{SECTION}."): value for name, value in overrides.items()})
