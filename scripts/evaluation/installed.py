"""What must be installed where a pipeline runs, and how many bytes that is."""

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from spacy.language import Language

SPACY = "spacy"
# What functions of this project need besides spaCy.
OWN = {"textcat_ladder.TextCatOnnx.v1": ("onnxruntime", "tokenizers")}


def needed_packages(nlp: "Language") -> list[str]:
    """The packages that a pipeline's components and functions are from, and those that they need, by name.

    `spacy package` asks for each function in the pipeline's language first; what is not there makes spaCy import all
    packages with functions, so here they are looked up by their own names only.
    """
    # Not before they are needed: a process that measures decides first how spaCy starts.
    from spacy.util import registry, walk_dict

    config = nlp.config.interpolate()
    paths = [(keys[-1], value) for part in ("nlp", "components") for keys, value in walk_dict(config[part])]
    named = {(key.removeprefix("@"), value) for key, value in paths if key.startswith("@")}
    modules = {registry.find(kind, name)["module"] for kind, name in named} | {
        pipe.__module__ for _, pipe in nlp.pipeline
    }
    owners = packages_distributions()
    found = {package for module in modules if module for package in owners.get(module.split(".")[0], ())}
    return sorted(found.union(*(OWN.get(name, ()) for _, name in named)))


def required_packages(roots: Iterable[str]) -> set[str]:
    """Names of installed packages and of all that they require, directly or not, but for optional extras."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        if (name := canonicalize_name(waiting.pop())) in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        parsed = map(Requirement, requirements)
        waiting += [needed.name for needed in parsed if not needed.marker or needed.marker.evaluate({"extra": ""})]
    return found


def package_bytes(package: Distribution) -> int:
    """Bytes of the files of an installed package, without what Python compiles from them."""
    paths = [Path(str(file.locate())) for file in package.files or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())


def loaded_packages(roots: Iterable[str]) -> dict[str, int]:
    """The packages that modules of this process come from, and their bytes, largest first.

    Args:
        roots: packages that the pipeline needs, spaCy among them. What is loaded only because it happens to be
            installed, as transformers does with scikit-learn, does not count.
    """
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    owners = packages_distributions()
    # Several packages may share a name, as those that extend another one do: their files tell.
    names = {name for module in list(sys.modules) for name in owners.get(module, ())}
    found = {}
    for name in required_packages(roots) & set(map(canonicalize_name, names)):
        package = distribution(name)
        if any(str(file.locate()) in paths for file in package.files or ()):
            found[name] = package_bytes(package)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
