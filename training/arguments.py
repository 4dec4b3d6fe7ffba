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

import contextlib
import math
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import yaml


# of two or more voices, the same with noise, one voice with noise
MIX_TYPES = ("mix_clean", "mix_both", "mix_single")
# an octave down and up: beyond, a voice is none
SPEEDS = (0.5, 2.0)
# below it a high-pass filter would ring longer than what is put behind the samples for it
LOWEST_HIGH_PASS_HZ = 20.0


class SettingsError(ValueError):
    """Settings, speech or a list of mixtures that cannot be used as they are, with what to change."""


def describe_error(error: Exception) -> str:
    """What an error says, without the traceback that a `DataLoader` puts before what one of its workers raised."""
    text = str(error).strip()
    return text.splitlines()[-1].partition(": ")[2] if text.startswith("Caught ") else text


@dataclass
class SpeechArguments:
    """One folder of speech by speaker that training mixtures are drawn from."""

    root: str
    # csv with path, speaker and perhaps loudness; without it every audio file below root counts, its first folder the speaker
    utterances: str | None = None
    # 115 MB an hour at 16 kHz, and no reading while training; without it files are read when they are drawn
    in_memory: bool = True
    # share of the draws, relative to the other folders
    weight: float = 1.0
    # range of a white noise floor in dB below the speech, for speech that is too clean
    noise_floor_db: list[float] | None = None


@dataclass
class MixtureArguments:
    """One list of mixtures that exist already: exactly one of `tree`, `metadata` and `dataset`."""

    # a split of a generated Libri2Mix, such as Libri2Mix/wav16k/min/train-360
    tree: str | None = None
    # a LibriMix metadata csv, mixed on the fly, with paths relative to root
    metadata: str | None = None
    root: str | None = None
    # the folder that the csv's paths of noise start from, needed for mix_both and mix_single
    noise_root: str | None = None
    # what is longer than the shortest voice is cut off, or what is shorter than the longest filled with zeros
    mode: str = "min"
    mix_type: str = "mix_clean"
    # a set of the Hub or a folder that `save_to_disk` wrote, with a column of files for each source
    dataset: str | None = None
    split: str = "train"
    source_columns: list[str] | None = None
    # without it the mixture is the sum of the sources
    mixture_column: str | None = None
    # share of the draws, relative to the other lists and to all of the speech
    weight: float = 1.0

    def __post_init__(self):
        if sum(value is not None for value in (self.tree, self.metadata, self.dataset)) != 1:
            raise SettingsError("A list of mixtures needs exactly one of `tree`, `metadata` and `dataset`.")
        if (self.metadata is None) != (self.root is None):
            raise SettingsError("`metadata` and `root` go together: give both or neither.")
        if self.noise_root is not None and self.metadata is None:
            raise SettingsError("`noise_root` goes with `metadata`: elsewhere the noise is in the mixtures.")
        self._check_kind()
        if self.dataset is not None and not self.source_columns:
            raise SettingsError("`dataset` needs `source_columns`, for instance [source_1, source_2].")
        if self.mode not in ("min", "max"):
            raise SettingsError(f"`mode` ({self.mode!r}) must be 'min' or 'max'.")
        if self.mix_type not in MIX_TYPES:
            raise SettingsError(f"`mix_type` ({self.mix_type!r}) must be one of {', '.join(MIX_TYPES)}.")
        if self.weight <= 0:
            raise SettingsError(f"`weight` ({self.weight}) must be positive.")

    def _check_kind(self) -> None:
        """Refuse what another kind of list would look at, and this one does not."""
        defaults = {item.name: item.default for item in fields(self)}
        kinds = {
            "metadata": ("mode", "mix_type"),
            "tree": ("mix_type",),
            "dataset": ("split", "source_columns", "mixture_column"),
        }
        [own] = [kind for kind in kinds if getattr(self, kind) is not None]
        for name in sorted({name for names in kinds.values() for name in names} - set(kinds[own])):
            if (value := getattr(self, name)) != defaults[name]:
                raise SettingsError(f"`{name}` ({value!r}) says nothing about a `{own}`: leave it out.")

    @property
    def name(self) -> str:
        """Where the list comes from."""
        return self.tree or self.metadata or self.dataset


@dataclass
class TrainingArguments:
    """Everything about a run but the architecture: under `model`, a `model_type` and the fields of its configuration."""

    output_dir: str
    # voices to mix on the fly, mixtures as they are, or both
    speech: list[SpeechArguments] = field(default_factory=list)
    mixtures: list[MixtureArguments] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)
    valid: MixtureArguments | None = None
    num_valid_mixtures: int = 100
    # what is learned: "matched", the family's own loss on references, or, for the waveform families, "mixit": two recordings,
    # which may be mixtures themselves, are drawn and summed, and the estimates must add up to each (arXiv 2006.12701)
    objective: str = "matched"
    seed: int = 72
    # optimiser steps
    max_steps: int = 300_000
    # mixtures of all processes together
    batch_size: int = 64
    # chunks that a mixture is as long as, one after the other: two or more teach an AudioSlots with speaker embeddings to know
    # a speaker again
    num_chunks: int = 1
    # parts that a process goes through its share of the batch in, one after the other: less memory, the same step, but for
    # dropout, which is drawn part by part
    gradient_accumulation_steps: int = 1
    # "adam", or "muon" for all matrices and Adam for the rest, at the same learning rate
    optimizer: str = "adam"
    learning_rate: float = 2e-4
    warmup_steps: int = 2500
    # a factor of the learning rate every decay_steps, in place of the cosine to zero
    decay_rate: float | None = None
    decay_steps: int = 10_000
    max_grad_norm: float = 0.05
    # decay of a moving average of the weights, which is then what is validated and what `best/` and `last/` hold
    ema_decay: float | None = None
    mixed_precision: str = "no"
    # compute the layers again in the backward pass: less memory, a third slower, the same losses
    gradient_checkpointing: bool = False
    # torch.compile: minutes at the start, faster steps; LSTMs stay outside of its graphs
    compile: bool = False
    # speeds that a voice is resampled to, 1.0 for as it is
    speeds: list[float] = field(default_factory=lambda: [1.0])
    # copy all speech to the memory of the device and draw the mixtures there: no worker, no reading, no copying
    speech_on_device: bool = False
    # range of a random first-order tilt of the spectrum, +- dB between low and high frequencies
    tilt_db: float = 0.0
    # range of the cutoff of a random high-pass filter in hertz, drawn from its logarithm, one for all voices of a mixture of
    # `speech`: what comes over a telephone has no lows
    high_pass_hz: list[float] | None = None
    # share of the mixtures of `speech` whose voices get one spectrum, that of the crop, as from one microphone: two voices
    # of a corpus seldom share one, and a model learns to tell the microphones apart in place of the voices; for crops of seconds
    shared_channel: float = 0.0
    # largest power of its envelope that a voice of `speech` is divided by, drawn from 0 on for each: recordings that people
    # are to listen to have been through a compressor, corpora have not
    compression: float = 0.0
    num_workers: int = 0
    log_steps: int = 50
    valid_steps: int = 5000
    save_steps: int = 5000
    num_kept_checkpoints: int = 2
    # stop after this many validations in a row that were no better than the best
    patience: int | None = None
    # stop with a checkpoint after this long, looked at every log_steps
    max_minutes: float | None = None

    def __post_init__(self):
        if not self.speech and not self.mixtures:
            raise SettingsError(
                "`speech` and `mixtures` are empty: name at least one folder of speech or list of mixtures."
            )
        for index, folder in enumerate(self.speech):
            if folder.weight <= 0:
                raise SettingsError(f"`speech.{index}.weight` ({folder.weight}) must be positive.")
            noise_floor_db = folder.noise_floor_db
            if noise_floor_db is not None and (len(noise_floor_db) != 2 or noise_floor_db != sorted(noise_floor_db)):
                raise SettingsError(f"`speech.{index}.noise_floor_db` ({noise_floor_db}) must be [lowest, highest].")
        if not self.speeds or not all(SPEEDS[0] <= speed <= SPEEDS[1] for speed in self.speeds):
            raise SettingsError(
                f"`speeds` ({self.speeds}) must hold at least one factor, each from {SPEEDS[0]} to {SPEEDS[1]}."
            )
        if (cutoffs := self.high_pass_hz) is not None and not (
            len(cutoffs) == 2 and LOWEST_HIGH_PASS_HZ <= cutoffs[0] <= cutoffs[1]
        ):
            raise SettingsError(
                f"`high_pass_hz` ({cutoffs}) must be [lowest, highest], from {LOWEST_HIGH_PASS_HZ:g} Hz on, or null for no filter."
            )
        if not 0 <= self.shared_channel <= 1:
            raise SettingsError(
                f"`shared_channel` ({self.shared_channel}) must be a share of the mixtures, from 0 to 1."
            )
        if not 0 <= self.compression < 1:
            raise SettingsError(
                f"`compression` ({self.compression}) must be from 0, for none, to below 1, for no dynamics."
            )
        self._check_optimisation()
        self._check_residence()

    def _check_residence(self) -> None:
        if not self.speech_on_device:
            return
        if self.mixtures:
            raise SettingsError("`speech_on_device` draws from speech: leave `mixtures` empty, or set it to false.")
        if on_disk := [index for index, folder in enumerate(self.speech) if not folder.in_memory]:
            raise SettingsError(
                f"`speech_on_device` needs `speech.{on_disk[0]}.in_memory` true: all of the speech goes to the device."
            )
        if self.num_workers > 0:
            raise SettingsError(
                f"`speech_on_device` leaves workers nothing to do: set `num_workers` ({self.num_workers}) to 0."
            )

    def _check_optimisation(self) -> None:
        self._check_schedule()
        for name in ("gradient_accumulation_steps", "num_valid_mixtures", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise SettingsError(f"`{name}` ({getattr(self, name)}) must be at least 1.")
        for name in ("warmup_steps", "num_workers", "max_minutes", "tilt_db"):
            if getattr(self, name) is not None and getattr(self, name) < 0:
                raise SettingsError(f"`{name}` ({getattr(self, name)}) must not be negative.")
        if not 0 <= self.seed < 2**32:
            raise SettingsError(f"`seed` ({self.seed}) must be from 0 to 2 ** 32 - 1.")
        if self.objective not in ("matched", "mixit"):
            raise SettingsError(f"`objective` ({self.objective!r}) must be 'matched' or 'mixit'.")
        if self.optimizer not in ("adam", "muon"):
            raise SettingsError(f"`optimizer` ({self.optimizer!r}) must be 'adam' or 'muon'.")
        if self.objective == "mixit" and self.mixtures:
            raise SettingsError(
                "`objective` 'mixit' draws recordings: list them under `speech`, not under `mixtures`."
            )
        if self.batch_size % self.gradient_accumulation_steps != 0:
            raise SettingsError(
                f"`batch_size` ({self.batch_size}) must be a multiple of `gradient_accumulation_steps` "
                f"({self.gradient_accumulation_steps})."
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise SettingsError(f"`ema_decay` ({self.ema_decay}) must be between 0 and 1, or null for no average.")
        if self.patience is not None and self.valid is None:
            raise SettingsError(f"`patience` ({self.patience}) counts validations: give `valid` too, or null.")

    def _check_schedule(self) -> None:
        for name in ("learning_rate", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"`{name}` ({getattr(self, name)}) must be positive.")
        for name in (
            "max_steps",
            "batch_size",
            "num_chunks",
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

    def check_paths(self) -> None:
        """Raise a `SettingsError` that names the first missing path and its key."""
        paths = {}
        for index, folder in enumerate(self.speech):
            paths[f"speech.{index}.root"] = folder.root
            paths[f"speech.{index}.utterances"] = folder.utterances
        lists = {f"mixtures.{index}": item for index, item in enumerate(self.mixtures)} | {"valid": self.valid}
        for prefix, item in lists.items():
            for name in ("tree", "metadata", "root", "noise_root") if item is not None else ():
                paths[f"{prefix}.{name}"] = getattr(item, name)
        for key, path in paths.items():
            if path is not None and not Path(path).exists():
                raise SettingsError(f"`{key}` names {path}, which does not exist: pass {key}=PATH.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they would stand in a yaml file."""
        return asdict(self)


def _build(cls: type, values: Any, prefix: str = "") -> Any:
    if not isinstance(values, dict):
        raise SettingsError(f"`{prefix.rstrip('.')}` ({values!r}) must hold keys, such as {fields(cls)[0].name}.")
    known = {item.name for item in fields(cls)}
    if unknown := sorted(map(str, set(values) - known)):
        raise SettingsError(f"Unknown key `{prefix}{unknown[0]}`: the keys are {', '.join(sorted(known))}.")
    checked = {
        item.name: check_type(prefix + item.name, values[item.name], item.type)
        for item in fields(cls)
        if item.name in values
    }
    try:
        return cls(**checked)
    except TypeError as error:
        raise SettingsError(f"Missing key in the configuration: {error}.") from error
    except SettingsError as error:
        raise SettingsError(f"`{prefix.rstrip('.')}`: {error}" if prefix else str(error)) from error


def check_type(key: str, value: Any, expected: Any) -> Any:
    """The value as the type of its field; yaml reads 1e-3 as a string, 1 as an integer and no as false."""
    types = get_args(expected) if isinstance(expected, UnionType) else (expected,)
    if value is False and str in types:
        return "no"
    if value is not None:
        for nested in filter(is_dataclass, types):
            return _build(nested, value, f"{key}.")
    for option in types:
        if isinstance(value, list) and get_origin(option) is list:
            [item] = get_args(option)
            return [check_type(f"{key}.{index}", entry, item) for index, entry in enumerate(value)]
        if isinstance(value, dict) and get_origin(option) is dict:
            return {name: check_type(f"{key}.{name}", entry, type(entry)) for name, entry in value.items()}
    if float in types and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            value = float(value)
    accepted = tuple(get_origin(option) or option for option in types)
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in types):
        raise SettingsError(
            f"`{key}` ({value!r}) has the wrong type: it must be {getattr(expected, '__name__', expected)}."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"`{key}` ({value}) must be a finite number.")
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
        elif isinstance(values, dict):
            # what is null can be given keys
            if values.get(name) is None:
                values[name] = {}
            values = values[name]
        else:
            parents = parents[:position]
            break
    if isinstance(values, list) and last.isdigit() and int(last) < len(values):
        values[int(last)] = value
    elif isinstance(values, dict):
        values[last] = value
    else:
        raise SettingsError(f"Unknown key `{key}`: `{'.'.join(parents)}` holds no keys.")


class _UniqueKeyLoader(yaml.SafeLoader):
    """Reads yaml, but not a key that is there twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = Counter(str(key.value) for key, _ in node.value)
        if names and (twice := names.most_common(1)[0])[1] > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: Any, name: str) -> Any:
    try:
        return yaml.load(text, _UniqueKeyLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name} is not valid yaml: {error}") from error


def load_arguments(path: str | Path, overrides: list[str]) -> TrainingArguments:
    """
    Read a yaml file and apply overrides such as `batch_size=8` or `speech.0.root=DIR`.

    Raises:
        `SettingsError`: an unknown or missing key, an override without `=`, a value out of range.
    """
    with open(path, encoding="utf-8") as file:
        values = _parse_yaml(file, str(path))
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no keys, such as output_dir.")
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise SettingsError(f"The override {override!r} has no `=`: write key=value.")
        _override(values, key, _parse_yaml(value, override))
    return _build(TrainingArguments, values)
