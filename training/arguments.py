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
"""Arguments of a training run: a yaml file, then key=value overrides."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import yaml


class SettingsError(ValueError):
    """Settings, speech or a list of mixtures that cannot be used as they are, with what to change."""


@dataclass
class SpeechArguments:
    """One folder of speech by speaker that training mixtures are drawn from."""

    root: str
    # csv with path, speaker, num_samples; without it every audio file below root counts, its first folder the speaker
    utterances: str | None = None
    # share of the draws, relative to the other folders
    weight: float = 1.0
    # range of a white noise floor in dB below the speech, for speech that is too clean
    noise_floor_db: list[float] | None = None


@dataclass
class TrainingArguments:
    """Everything about a run but the architecture: under `model`, a `model_type` and the fields of its configuration."""

    output_dir: str
    speech: list[SpeechArguments]
    model: dict[str, Any] = field(default_factory=dict)
    # a LibriMix metadata csv with paths relative to valid_root
    valid_metadata: str | None = None
    valid_root: str | None = None
    num_valid_mixtures: int = 100
    seed: int = 72
    max_steps: int = 300_000
    batch_size: int = 64
    learning_rate: float = 2e-4
    warmup_steps: int = 2500
    # a factor of the learning rate every decay_steps, in place of the cosine to zero
    decay_rate: float | None = None
    decay_steps: int = 10_000
    max_grad_norm: float = 0.05
    mixed_precision: str = "no"
    # relative level of the two voices, +- dB
    level_range_db: float = 4.0
    # speeds that a voice is resampled to, 1.0 for as it is
    speeds: list[float] = field(default_factory=lambda: [1.0])
    # range of a random first-order tilt of the spectrum, +- dB between low and high frequencies
    tilt_db: float = 0.0
    num_workers: int = 0
    log_steps: int = 50
    valid_steps: int = 5000
    save_steps: int = 5000
    num_kept_checkpoints: int = 2
    # stop with a checkpoint after this long, looked at every log_steps
    max_minutes: float | None = None

    def __post_init__(self):
        self.speech = [
            folder if isinstance(folder, SpeechArguments) else _build(SpeechArguments, folder, f"speech.{index}.")
            for index, folder in enumerate(self.speech)
        ]
        if not self.speech:
            raise SettingsError("`speech` is empty: name at least one folder of speech.")
        for index, folder in enumerate(self.speech):
            if folder.weight <= 0:
                raise SettingsError(f"`speech.{index}.weight` ({folder.weight}) must be positive.")
            if folder.noise_floor_db is not None and len(folder.noise_floor_db) != 2:
                raise SettingsError(
                    f"`speech.{index}.noise_floor_db` ({folder.noise_floor_db}) must be [lowest, highest]."
                )
        for name in ("learning_rate", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"`{name}` ({getattr(self, name)}) must be positive.")
        for name in (
            "max_steps",
            "batch_size",
            "log_steps",
            "valid_steps",
            "save_steps",
            "num_kept_checkpoints",
            "decay_steps",
        ):
            if getattr(self, name) < 1:
                raise SettingsError(f"`{name}` ({getattr(self, name)}) must be at least 1.")
        if self.decay_rate is not None and not 0 < self.decay_rate < 1:
            raise SettingsError(f"`decay_rate` ({self.decay_rate}) must be between 0 and 1, or null for a cosine.")
        if self.mixed_precision not in ("no", "bf16"):
            raise SettingsError(f"`mixed_precision` ({self.mixed_precision!r}) must be 'no' or 'bf16'.")
        if (self.valid_metadata is None) != (self.valid_root is None):
            raise SettingsError("`valid_metadata` and `valid_root` go together: give both or neither.")
        if not self.speeds or not all(isinstance(speed, int | float) and speed > 0 for speed in self.speeds):
            raise SettingsError(f"`speeds` ({self.speeds}) must hold at least one positive factor, for instance 1.0.")

    def check_paths(self) -> None:
        """Raise a `SettingsError` that names the first missing path and its key."""
        paths = {"valid_metadata": self.valid_metadata, "valid_root": self.valid_root}
        for index, folder in enumerate(self.speech):
            paths[f"speech.{index}.root"] = folder.root
            paths[f"speech.{index}.utterances"] = folder.utterances
        for key, path in paths.items():
            if path is not None and not Path(path).exists():
                raise SettingsError(f"`{key}` names {path}, which does not exist: pass {key}=PATH.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they would stand in a yaml file."""
        return asdict(self)


def _build(cls: type, values: dict[str, Any], prefix: str = "") -> Any:
    known = {item.name for item in fields(cls)}
    if unknown := sorted(set(values) - known):
        raise SettingsError(f"Unknown key `{prefix}{unknown[0]}`: the keys are {', '.join(sorted(known))}.")
    for item in fields(cls):
        if item.name in values:
            values[item.name] = _check_type(prefix + item.name, values[item.name], item.type)
    try:
        return cls(**values)
    except TypeError as error:
        raise SettingsError(f"Missing key in the configuration: {error}.") from error


def _check_type(key: str, value: Any, expected: Any) -> Any:
    """The value as the type of its field; yaml reads 1e-3 as a string and 1 as an integer."""
    if isinstance(value, int | str) and not isinstance(value, bool) and float in (expected, *get_args(expected)):
        try:
            return float(value)
        except ValueError:
            pass
    # list[float] is checked as a list
    types = (
        tuple(get_origin(option) or option for option in get_args(expected)) if isinstance(expected, UnionType) else ()
    )
    if not isinstance(value, types or (get_origin(expected) or expected)) or (isinstance(value, bool)):
        raise SettingsError(
            f"`{key}` ({value!r}) has the wrong type: it must be {getattr(expected, '__name__', expected)}."
        )
    return value


def _override(values: Any, key: str, value: Any) -> None:
    """Set the dotted `key`; list positions are numbers."""
    *parents, last = key.split(".")
    for position, name in enumerate(parents):
        if isinstance(values, list):
            if not name.isdigit() or int(name) >= len(values):
                raise SettingsError(
                    f"Unknown key `{key}`: `{'.'.join(parents[:position])}` has {len(values)} entries."
                )
            values = values[int(name)]
        else:
            values = values.setdefault(name, {})
    if not isinstance(values, dict):
        raise SettingsError(f"Unknown key `{key}`: `{'.'.join(parents)}` holds no keys.")
    values[last] = value


def _parse_yaml(text: Any, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name} is not valid yaml: {error}") from error


def load_arguments(path: str | Path, overrides: list[str]) -> TrainingArguments:
    """
    Read a yaml file and apply overrides such as `batch_size=8` or `speech.0.root=DIR`.

    Raises:
        `SettingsError`: an unknown or missing key, an override without `=`, a value out of range.
    """
    with open(path, encoding="utf-8") as file:
        values = _parse_yaml(file, str(path))
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise SettingsError(f"The override {override!r} has no `=`: write key=value.")
        _override(values, key, _parse_yaml(value, override))
    return _build(TrainingArguments, values)
