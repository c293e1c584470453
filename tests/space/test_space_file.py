"""One's own space in a YAML file."""

from itertools import product
from math import log
from pathlib import Path

import pytest
import yaml

from autodistill.errors import SpaceError
from autodistill.space import Architecture, SearchSpace
from autodistill.space.presets import PRESETS

SMALL = {
    "num_hidden_layers": [4, 6],
    "hidden_size": [128, 256],
    "intra_bottleneck_size": [64, 128],
    "num_attention_heads": [1, 2],
    "intermediate_size": [256],
    "num_feedforward_networks": [1, 2],
    "normalization_type": ["layer_norm", "no_norm"],
}


def write(folder: Path, content: object) -> Path:
    path = folder / "mine.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text)
    return path


def test_a_valid_file(tmp_path):
    baseline = {field: values[0] for field, values in SMALL.items()}
    path = write(tmp_path, {"family": "mobilebert", "choices": SMALL, "baseline": baseline})
    space = SearchSpace.from_yaml(str(path))
    expected = SearchSpace(SMALL, family="mobilebert", baseline=baseline, name="mine")
    assert space.describe() == expected.describe()
    assert space.enumerate() == expected.enumerate()


def test_the_file_of_the_documentation(tmp_path):
    text = """
    family: mobilebert
    name: my-space
    choices:
      num_hidden_layers: [4, 6, 8]
      hidden_size: [256, 384]
      intra_bottleneck_size: [64, 128]
      num_attention_heads: [4]
      intermediate_size: [512]
      num_feedforward_networks: [2, 4]
    """
    space = SearchSpace.from_yaml(write(tmp_path, text))
    assert space.name == "my-space"
    assert space.size == 3 * 2 * 2 * 2


def test_a_space_of_no_family_needs_no_baseline(tmp_path):
    space = SearchSpace.from_yaml(write(tmp_path, "choices: {flag: [yes, no], n: [1, 2, 2.5]}"))
    assert space.choices == {"flag": (True, False), "n": (1, 2, 2.5)}
    assert (space.family, space.baseline, space.name) == (None, None, "mine")


@pytest.mark.parametrize("family", ["mobilebert", "bert"])
def test_the_presets_written_to_a_file_find_their_own_baseline(tmp_path, family):
    choices = PRESETS[family]["choices"]
    space = SearchSpace.from_yaml(write(tmp_path, {"family": family, "choices": choices}))
    assert space.baseline == Architecture(PRESETS[family]["baseline"])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"num_attention_heads": [3, 8], "intra_bottleneck_size": [96, 160, 192]},
        {"hidden_size": [100, 140], "intra_bottleneck_size": [110, 130]},
        {"num_feedforward_networks": [1, 3, 6], "num_hidden_layers": [5, 20, 40]},
        {"normalization_type": ["layer_norm"], "embedding_size": [64, 200, 300]},
    ],
)
def test_the_default_baseline_is_the_nearest_to_mobilebert(tmp_path, change):
    """Brute force over all combinations of choices, its rules written again."""
    choices = SMALL | change
    path = write(tmp_path, {"family": "mobilebert", "choices": choices})
    reference = PRESETS["mobilebert"]["baseline"]

    def distance(architecture):
        return sum(
            float(value != reference[field])
            if isinstance(value, str)
            else abs(log(value) - log(reference[field]))
            for field, value in architecture.items()
        )

    members = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    valid = [
        a for a in members
        if a["intra_bottleneck_size"] % a["num_attention_heads"] == 0
        and a["intra_bottleneck_size"] <= a["hidden_size"]
    ]  # fmt: skip
    baseline = SearchSpace.from_yaml(path).baseline
    assert dict(baseline) in valid
    assert distance(baseline) == pytest.approx(min(map(distance, valid)), abs=1e-12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("choices: [unclosed", "is not valid YAML"),
        ("choices: {day: [2001-99-99]}", "is not valid YAML"),
        ("just words", "must be a mapping with the key 'choices'"),
        ("", "must be a mapping with the key 'choices'"),
        ("family: bert", "must be a mapping with the key 'choices'"),
        ("choices: [1, 2]", "must be a mapping with the key 'choices'"),
        ("choices: {}", "needs at least one field with choices"),
        ("choices: {n: []}", "n needs a list of at least one choice; got []"),
        ("choices: {n: 4}", "n needs a list of at least one choice; got 4"),
        ("choices: {n: [4, ~]}", "got 'n': None"),
        ("choices: {n: [4]}\nsize: 3\nmode: x", "unknown keys ['mode', 'size']; known are family,"),
        ("choices: {n: [4]}\n3: 4", "unknown keys ['3']"),
        ("choices: {n: [4]}\nfamily: gpt", "family must be one of bert, mobilebert; got 'gpt'"),
        ("choices: {n: [4]}\nfamily: [bert]", "family must be text; got ['bert']"),
        ("choices: {n: [4]}\nname: 7", "name must be text; got 7"),
        ("choices: {n: [4]}\nbaseline: 4", "baseline must be a mapping of field to value"),
        ("choices: {n: [4]}\nbaseline:", "baseline must be a mapping of field to value"),
        ("choices: {n: [4]}\nbaseline: {n: 5}", "the baseline is not in the space: n must be one"),
        ("choices: {n: [4]}\nfamily: bert", "unknown fields ['n'] for bert"),
        ({"family": "bert", "choices": {"hidden_size": [8]}}, "bert needs values for interm"),
        (
            {"family": "mobilebert", "choices": SMALL | {"num_attention_heads": [3]}},
            "the space is empty: no combination of choices satisfies: num_attention_heads must",
        ),
        (
            {"family": "mobilebert", "choices": SMALL | {"intra_bottleneck_size": [512]}},
            "the space is empty",
        ),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(SpaceError) as caught:
        SearchSpace.from_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(SpaceError, match=r"absent.yaml cannot be read: No such file"):
        SearchSpace.from_yaml(tmp_path / "absent.yaml")
    with pytest.raises(SpaceError, match="cannot be read: Is a directory"):
        SearchSpace.from_yaml(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SpaceError, match=r"binary.yaml is not valid YAML"):
        SearchSpace.from_yaml(tmp_path / "binary.yaml")
