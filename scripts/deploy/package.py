"""Make an installable wheel of a trained pipeline, with what its user needs to know: labels, scores, data, licence."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from packaging.version import InvalidVersion, Version
from spacy.cli.package import package as spacy_package
from spacy.util import load_config
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json, write_json, write_text
from scripts.common.tables import markdown_table


def package_name(dataset: str, variant: str) -> str:
    """A name that Python can import: letters, digits and single underscores."""
    return re.sub(r"[^0-9a-z]+", "_", f"{dataset}_{variant}".casefold()).strip("_")


def check_version(version: str) -> None:
    """Make sure that pip understands a version.

    Raises:
        UserError: it does not.
    """
    try:
        Version(version)
    except InvalidVersion:
        raise UserError(f"version {version!r}: expected numbers such as 1.0.0.") from None


def complete_meta(meta: dict[str, Any], metrics: dict[str, Any], version: str, licence: str, source: str) -> dict:
    """The pipeline's own meta data with name, version, description, licence, data source and test scores."""
    scores = metrics["scores"]
    return meta | {
        "name": package_name(metrics["dataset"], metrics["variant"]),
        "version": version,
        "description": (
            f"Text classifier ({metrics['variant']}) for {metrics['dataset']}: macro-F1 {scores['macro_f1']:.3f} on "
            f"{scores['documents']} test texts."
        ),
        "license": licence,
        "sources": [{"name": metrics["dataset"], "url": "", "license": licence, "author": source.split("\n")[0]}],
        "performance": meta["performance"]
        | {
            f"test_{name}": scores[name]
            for name in ("macro_f1", "micro_f1", "accuracy", "macro_auc", "calibration_error")
        },
    }


def make_readme(meta: dict[str, Any], metrics: dict[str, Any], source: str) -> str:
    """What the wheel's page says: how to use it, its labels and scores, where they come from."""
    scores, name = metrics["scores"], f"{meta['lang']}_{meta['name']}"
    low, high = scores["macro_f1_ci"]
    labels = [
        [label, *(f"{value[key]:.3f}" for key in ("p", "r", "f"))] for label, value in scores["per_label"].items()
    ]
    several = (
        ""
        if "thresholds" not in scores
        else (f" A text may have any number of labels: those that score {scores['thresholds']['all_labels']} or more.")
    )
    return f"""# {name} {meta["version"]}

{meta["description"]}

```python
import spacy

nlp = spacy.load("{name}")
print(nlp("Your text").cats)
```

## Labels

Scores on {scores["documents"]} test texts: macro-F1 {scores["macro_f1"]:.3f} (95 % interval {low:.3f} to {high:.3f}),
accuracy {scores["accuracy"]:.3f}.{several}

{markdown_table(["label", "precision", "recall", "F1"], labels)}
## Cost

{metrics["size"]["pipeline_bytes"] / 1e6:.1f} MB on disk; {metrics["speed"]["docs_per_s"]:,.0f} texts a second
on one thread ({metrics["env"]["cpu"]}).

## Data

Licence: {meta["license"]}

{source.strip()}
"""


def data_source(folder: Path, dataset: str) -> str:
    """What the README of a data set's folder says, without its headings; else its name."""
    path = folder / "README.md"
    if not path.is_file():
        return f"{dataset} (no description: put a README.md into {folder.as_posix()})"
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#")).strip() or dataset


def uses_code(model: Path, code: Path) -> bool:
    """Whether a pipeline's components name a function that is registered in a file with code."""
    config = (model / "config.cfg").read_text(encoding="utf-8")
    components = config.partition("[components]")[2].partition("[corpora]")[0]
    names = re.findall(r'@registry\.\w+(?:\.register)?\(\s*"([^"]+)"', code.read_text(encoding="utf-8"))
    return any(f'"{name}"' in components for name in names)


def package(
    run: Annotated[Path, typer.Argument(help="Training folder: holds model-best.")],
    output: Annotated[Path, typer.Argument(help="Folder for the packages.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file of this variant.")],
    version: Annotated[str, typer.Option(help="Version of the package.")] = "0.1.0",
    licence: Annotated[str, typer.Option("--license", help="Licence of the model, given its data.")] = "unknown",
    assets: Annotated[Path, typer.Option(help="Folder of the data sets; their README.md tells the source.")] = Path(
        "assets"
    ),
    code: Annotated[Path, typer.Option(help="File with registered functions; packed if the pipeline uses it.")] = Path(
        "scripts/components.py"
    ),
) -> None:
    """Build a wheel of a pipeline."""
    model = run / "model-best"
    if not (model / "meta.json").is_file():
        raise UserError(f"{model}: no trained pipeline. Train it first.")
    check_version(version)
    facts = read_json(metrics)
    if facts["variant"] != run.name:
        raise UserError(f"{metrics}: holds the metrics of {facts['variant']}, not of {run.name}.")
    source = data_source(assets / facts["dataset"], facts["dataset"])
    meta = complete_meta(read_json(model / "meta.json"), facts, version, licence, source)
    codes = [code] if code.is_file() and uses_code(model, code) else []
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model"
        shutil.copytree(model, copy)
        # spaCy looks for the components' functions without resolving references such as ${task.factory}.
        load_config(copy / "config.cfg", interpolate=True).to_disk(copy / "config.cfg")
        write_json(copy / "meta.json", meta)
        write_text(copy / "README.md", make_readme(meta, facts, source))
        target = output / f"{meta['lang']}_{meta['name']}-{version}"
        shutil.rmtree(target, ignore_errors=True)
        spacy_package(
            copy,
            output,
            code_paths=codes,
            create_sdist=False,
            create_wheel=True,
            require_parent=True,
            force=True,
            silent=False,
        )
    wheels = list(target.glob("dist/*.whl"))
    if not wheels:
        raise UserError(
            f"{target}: no wheel was built, see above. Install what is needed: pip install build setuptools"
        )
    size = wheels[0].stat().st_size / 1e6
    msg.good(f"{wheels[0]}: {size:.1f} MB. Install it: python -m pip install {wheels[0].as_posix()}")


if __name__ == "__main__":
    run_cli(package)
