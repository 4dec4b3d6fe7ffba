# Copyright 2026 The AudioSlots-HF authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from training.arguments import TrainingArguments
from training.settings import STRICT, SettingsError, build, load_settings
from training.settings_help import describe_kind, format_settings, list_settings


@dataclass
class Square:
    """A shape with four sides."""

    __pydantic_config__ = STRICT

    width: Annotated[float, Field(gt=0)]
    """Length of a side in metres."""
    type: Literal["square"] = "square"


@dataclass
class Circle:
    """A shape without corners."""

    __pydantic_config__ = STRICT

    radius: float
    type: Literal["circle"] = "circle"

    def __post_init__(self):
        if self.radius < 0:
            raise SettingsError(f"`radius` ({self.radius}) must not be negative.")


@dataclass
class Drawing:
    """The schema of these tests."""

    __pydantic_config__ = STRICT

    title: str
    shapes: list[Annotated[Square | Circle, Field(discriminator="type")]] = field(default_factory=list)
    """Shapes, the first at the bottom."""
    style: dict[str, Any] = field(default_factory=dict)
    frame: Square | None = None


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_file_inherits_keys_from_its_bases(tmp_path):
    write(
        tmp_path,
        paper="title: paper\nstyle: {line: {width: 1, color: red}, fill: none}\nshapes: [{type: circle, radius: 1}]",
        variants__wide="base: ../paper.yaml\nstyle: {line: {width: 1e-3}}",
        variants__empty="base: wide.yaml\ntitle: empty\nshapes: []",
    )
    drawing = load_settings(Drawing, tmp_path / "variants" / "empty.yaml", ["style.fill=blue", "frame.width=2"])
    assert drawing.title == "empty"
    # keys are merged at any depth, lists are replaced
    assert drawing.style == {"line": {"width": 0.001, "color": "red"}, "fill": "blue"}
    assert drawing.shapes == []
    assert drawing.frame == Square(2.0)


def test_bases_that_lead_back_to_themselves_are_an_error(tmp_path):
    write(tmp_path, a="base: b.yaml", b="base: c.yaml", c="base: x/a.yaml", itself="base: itself.yaml")
    (tmp_path / "x").symlink_to(tmp_path)
    for name in ("a", "itself"):
        with pytest.raises(SettingsError, match="as its `base`, which leads back to"):
            load_settings(Drawing, tmp_path / f"{name}.yaml", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: nowhere.yaml", r"`base` \(nowhere.yaml\) of .*a.yaml does not exist"),
        ("base: 3", r"`base` \(3\) of .*a.yaml must be the path"),
        ("base: broken.yaml", "broken.yaml is not valid yaml"),
    ],
)
def test_a_base_that_cannot_be_read_is_named(tmp_path, text, message):
    write(tmp_path, a=text, broken="[1")
    with pytest.raises(SettingsError, match=message):
        load_settings(Drawing, tmp_path / "a.yaml", [])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shapes=[{type: triangle}]", "`shapes.0.type` ('triangle') must be one of 'square', 'circle'."),
        ("shapes=[{radius: 1}]", "The key `shapes.0.type` is missing."),
        ("shapes=[{type: square, widht: 1}]", "Unknown key `shapes.0.widht`: did you mean `shapes.0.width`."),
        ("shapes=[{type: square, width: -1}]", "`shapes.0.width` (-1) must be greater than 0."),
        ("shapes=[{type: circle, radius: -1}]", "`shapes.0`: `radius` (-1.0) must not be negative."),
        ("shapes.0.radius=wide", "`shapes.0.radius` ('wide') must be a valid number."),
        ("shapes.1.radius=1", "Unknown key `shapes.1.radius`: `shapes` has 1 entries, from `shapes.0` on."),
        ("title.font=serif", "Unknown key `title.font`: `title` holds no keys."),
        ("style.width=.inf", "`style.width` (inf) must be a finite number."),
        ("frame.type=square", "The key `frame.width` is missing."),
        ("frame=wide", "`frame` ('wide') must be an object."),
        ("zzz=1", "Unknown key `zzz`: the keys are frame, shapes, style, title."),
    ],
)
def test_an_error_names_the_key_and_the_value_or_the_nearest_key(tmp_path, override, message):
    write(tmp_path, a="title: a\nshapes: [{type: circle, radius: 1}]")
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        load_settings(Drawing, tmp_path / "a.yaml", [override])


def test_a_single_value_is_checked_like_a_setting():
    value = build(float, 1, "model.width")
    assert value == 1.0 and isinstance(value, float)
    with pytest.raises(SettingsError, match=r"`model.width` \('1'\) must be a valid number"):
        build(float, "1", "model.width")


def test_the_help_lists_every_setting_with_type_default_and_description():
    text = format_settings(Drawing)
    assert "shapes.0.width (number)" in text and "Length of a side in metres." in text
    assert "shapes.0.type (circle)" in text and "A shape without corners." in text
    assert "frame (object or null, default null)" in text


def test_the_help_gives_a_list_of_names_no_plural():
    colors, sizes = ({"type": "array", "items": items} for items in ({"enum": ["red", "blue"]}, {"type": "number"}))
    assert (describe_kind(colors), describe_kind(sizes)) == ("list of red or blue", "list of numbers")


def test_every_setting_of_a_run_is_described():
    settings = list_settings(TrainingArguments)
    assert [setting.key for setting in settings if not setting.description] == []
    assert {"speech.0.root", "valid.metadata", "learning_rate"} <= {setting.key for setting in settings}
