"""Make an installable wheel of a trained pipeline, with what its user needs to know: labels, scores, data, licence."""

import re
import shutil
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer
from packaging.version import InvalidVersion, Version
from spacy.cli.package import package as spacy_package
from spacy.util import load_config
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import md5_bytes, put, read_json, workspace, write_json, write_text
from scripts.common.finished import BEST, MODEL_MD5, check_finished
from scripts.evaluation.installed import OWN
from scripts.forms.cards import split_card
from scripts.forms.lines import text_lines
from scripts.forms.records import AUTO
from scripts.forms.tables import markdown_table


def package_name(dataset: str, variant: str) -> str:
    """A name that Python can import: letters, digits and single underscores.

    A data set whose name has other letters gets some digits of its checksum: two would be alike without them.
    """
    if not dataset.isascii():
        dataset += f"_d{md5_bytes([dataset.encode()])[:6]}"
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


def complete_meta(
    meta: dict[str, Any], metrics: dict[str, Any], version: str, licence: str, source: dict[str, str]
) -> dict[str, Any]:
    """The pipeline's own meta data with name, version, description, licence and data source.

    Its performance is that on test, at the threshold that it ships with; what training noted on dev is left out.

    Args:
        meta: of the pipeline.
        metrics: of the variant.
        version: of the package.
        licence: of the model, given its data.
        source: of the data: `name`, `author`, `url`, `license`.
    """
    scores = metrics["scores"]
    return meta | {
        "name": package_name(metrics["dataset"], metrics["variant"]),
        "version": version,
        "description": (
            f"Text classifier ({metrics['variant']}) for {metrics['dataset']}: macro-F1 {scores['macro_f1']:.3f} on "
            f"{scores['documents']} test texts."
        ),
        "license": licence,
        "author": source["author"],
        "sources": [source],
        "performance": {
            f"test_{name}": scores.get(name)
            for name in ("macro_f1", "micro_f1", "accuracy", "macro_auc", "macro_ap", "calibration_error")
        }
        | {"test_documents": scores["documents"]}
        | ({"threshold": scores["thresholds"]["all_labels"]} if "thresholds" in scores else {}),
    }


def make_readme(meta: dict[str, Any], metrics: dict[str, Any], source: str) -> str:
    """What the wheel's page says: how to use it, its labels and scores, where they come from."""
    scores, name = metrics["scores"], f"{meta['lang']}_{meta['name']}"
    low, high = scores["macro_f1_ci"]
    f1 = "F1 of the label" if metrics.get("mode") == "binary" else "macro-F1"
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

Scores on {scores["documents"]} test texts: {f1} {scores["macro_f1"]:.3f} (95 % interval {low:.3f} to {high:.3f}),
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
    return "\n".join(line for line in text_lines(path) if not line.startswith("#")).strip() or dataset


def source_facts(text: str, dataset: str, licence: str) -> dict[str, str]:
    """Author, address and licence of the data, from lines such as `- **Source.** …` of the data set's README.

    Args:
        text: the README, see `data_source`; or, before these lines, its head, see `split_card`.
        dataset: its name.
        licence: what the setting says; `auto` takes the README's.
    """
    card, text = split_card(text)
    facts = {}
    for name in ("author", "source", "licence", "license", "url"):
        if stated := card.get(name):
            facts[name] = ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated)
            continue
        found = re.search(rf"(?ims)^[-*]?\s*\**{name}\.?\**[.:]\**\s*(.+?)(?=\n\s*\n|\n[-*] |\Z)", text)
        if found:
            facts[name] = " ".join(found.group(1).split())
    own = facts.get("licence") or facts.get("license") or "unknown"
    return {
        "name": dataset,
        "author": facts.get("author") or facts.get("source") or "",
        "url": facts.get("url", ""),
        "license": own.rstrip(".") if licence == AUTO else licence,
    }


def component_settings(model: Path) -> str:
    """What the config of a pipeline says of its components."""
    config = (model / "config.cfg").read_text(encoding="utf-8")
    return config.partition("[components]")[2].partition("[corpora]")[0]


def uses_code(model: Path, code: Path) -> bool:
    """Whether a pipeline's components name a function that is registered in a file with code."""
    components = component_settings(model)
    names = re.findall(r'@registry\.\w+(?:\.register)?\(\s*"([^"]+)"', code.read_text(encoding="utf-8"))
    return any(f'"{name}"' in components for name in names)


def own_requirements(model: Path) -> list[str]:
    """What functions of this project need in a pipeline besides spaCy, in the version that is known to do or later.

    What functions of other packages need is found by spaCy itself.
    """
    components = component_settings(model)
    names = [package for name, packages in OWN.items() if f'"{name}"' in components for package in packages]
    return [f"{name}>={installed_version(name)}" for name in names]


def package(
    run: Annotated[Path, typer.Argument(help="Training folder: holds model-best.")],
    output: Annotated[Path, typer.Argument(help="Folder for the packages.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file of this variant.")],
    version: Annotated[str, typer.Option(help="Version of the package.")] = "0.1.0",
    licence: Annotated[str, typer.Option("--license", help="Licence of the model; auto goes by the data's.")] = AUTO,
    assets: Annotated[Path, typer.Option(help="Folder of the data sets; their README.md tells the source.")] = Path(
        "assets"
    ),
    code: Annotated[Path, typer.Option(help="File with registered functions; packed if the pipeline uses it.")] = Path(
        "scripts/components.py"
    ),
) -> None:
    """Build a wheel of a pipeline."""
    model = run / BEST
    known = check_finished(run)
    check_version(version)
    facts = read_json(metrics, "variant", "dataset", "scores", "size", "speed", "env")
    if facts["variant"] != run.name:
        raise UserError(f"{metrics}: holds the metrics of {facts['variant']}, not of {run.name}.")
    if facts.get("train", {}).get(MODEL_MD5) != known:
        raise UserError(
            f"{metrics}: holds the figures of another pipeline than {model}. Measure this one: python -m spacy project "
            f"run evaluate-{run.name}"
        )
    source = data_source(assets / facts["dataset"], facts["dataset"])
    about = source_facts(source, facts["dataset"], licence)
    source = split_card(source)[1]
    if about["license"] == "unknown":
        msg.warn(f"{assets / facts['dataset'] / 'README.md'}: names no licence of the data. Say it: --vars.license MIT")
    meta = complete_meta(read_json(model / "meta.json"), facts, version, about["license"], about)
    meta["requirements"] = own_requirements(model)
    codes = [code] if code.is_file() and uses_code(model, code) else []
    target = output / f"{meta['lang']}_{meta['name']}-{version}"
    with workspace(target) as work:
        copy = work / "model"
        shutil.copytree(model, copy)
        # spaCy looks for the components' functions without resolving references such as ${task.factory}.
        load_config(copy / "config.cfg", interpolate=True).to_disk(copy / "config.cfg")
        write_json(copy / "meta.json", meta)
        write_text(copy / "README.md", make_readme(meta, facts, source))
        spacy_package(
            copy,
            work,
            code_paths=codes,
            create_sdist=False,
            create_wheel=True,
            require_parent=True,
            force=True,
            silent=False,
        )
        if not list((work / target.name).glob("dist/*.whl")):
            raise UserError(
                f"{target}: no wheel was built, see above. Install what is needed: pip install build setuptools"
            )
        put(work / target.name, target)
    wheels = list(target.glob("dist/*.whl"))
    size = wheels[0].stat().st_size / 1e6
    msg.good(f"{wheels[0]}: {size:.1f} MB. Install it: python -m pip install {wheels[0].as_posix()}")


if __name__ == "__main__":
    run_cli(package)
