"""A variant's config is its ancestors' and its own; what is wrong with its section `[variant]` is named."""

import pytest

from scripts.common.cli import UserError
from scripts.common.variants import config_chain, merge_configs, names_in, variant_code, variant_names
from tests.conftest import ROOT


@pytest.fixture
def write(tmp_path):
    """A function that writes a config; there is a base."""

    def write_config(name, section="", rest=""):
        text = f"[variant]\n{section}\n{rest}" if section else rest
        path = tmp_path / f"{name}.cfg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    write_config("base", "", "[training]\ndropout = 0.1\nseed = 0\n")
    return write_config


def stems(chain):
    return [path.stem for path in chain]


def test_variants_are_what_is_evaluated():
    commands = [{"name": name} for name in ("train-b", "evaluate-b", "train-curve", "evaluate-a", "report")]
    assert names_in({"commands": commands}) == ["b", "a"]
    assert variant_names(ROOT)[:3] == ["linear", "bow", "cnn"]


def test_a_chain_goes_from_the_base_over_all_ancestors_to_the_own_config(write, tmp_path):
    write("grand")
    write("one", 'parents = ["grand"]')
    write("parts/shared", 'parents = ["grand"]')
    own = write("own", 'parents = ["one", "parts/shared"]')
    chain = config_chain(own)
    assert stems(chain) == ["base", "grand", "one", "shared", "own"]
    assert config_chain(tmp_path / "base.cfg") == [tmp_path / "base.cfg"]
    assert config_chain(own, tmp_path) == chain
    (tmp_path / "elsewhere").mkdir()
    moved = own.rename(tmp_path / "elsewhere" / "own.cfg")
    assert stems(config_chain(moved, tmp_path)) == stems(chain)


def test_later_configs_win_and_settings_are_inherited_but_for_parents(write, tmp_path):
    write("first", 'code = "a.py"\nsizes = "linear"', "[training]\ndropout = 0.2\n")
    write("second", 'parents = ["first"]\ncode = "b.py"\nhalf_precision = true')
    config, section = merge_configs(config_chain(write("own", 'parents = ["second"]', "[training]\nseed = 5\n")))
    assert config["training"] == {"dropout": 0.2, "seed": 5} and "variant" not in config
    assert {name: section[name] for name in ("code", "sizes", "half_precision")} == {
        "code": (tmp_path.parent / "b.py").as_posix(),
        "sizes": "linear",
        "half_precision": True,
    }


def test_code_is_that_of_the_ancestors():
    assert variant_code("compact-small", ROOT / "configs") == ROOT / "scripts" / "components.py"
    assert variant_code("bow", ROOT / "configs") is None


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ('parent = ["bow"]', r"own.cfg: \[variant\] parent is unknown. Known are parents, code, sizes"),
        ('parents = "bow"', r"own.cfg: \[variant\] parents must be of type list, found 'bow'"),
        ("half_precision = 1", r"half_precision must be of type bool, found 1"),
        ('parents = ["none"]', "none.cfg: no such config"),
        ('parents = ["own"]', "parents lead back to .*own.cfg"),
        ('parents = ["child"]', "own.cfg: .*parents lead back to .*own.cfg"),
        ('parents = ["broken"]', "broken.cfg: not a valid spaCy config"),
    ],
)
def test_mistakes_of_a_variant_are_named(write, section, expected):
    write("child", 'parents = ["own"]')
    write("broken", "", "[training\n")
    with pytest.raises(UserError, match=expected):
        config_chain(write("own", section))
