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
"""The settings of a training run: the schema of the yaml files in `training/configs`."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from .data.augmentations import AnyAugmentation
from .settings import STRICT, Range, SettingsError, load_settings


MixType = Literal["mix_clean", "mix_both", "mix_single"]
MIX_TYPES = get_args(MixType)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass
class SpeechArguments:
    """A folder of speech by speaker, from which training mixtures are drawn."""

    __pydantic_config__ = STRICT

    root: str
    """Folder with a subfolder per speaker."""
    utterances: str | None = None
    """A csv with path, speaker and optionally loudness; null uses every audio file below root, with its first folder as speaker."""
    in_memory: bool = True
    """Read all speech at the start, 115 MB an hour at 16 kHz; false reads each file when it is drawn."""
    weight: Positive = 1.0
    """Share of the draws, relative to the other folders."""
    noise_floor_db: Range[float] | None = None
    """Range [lowest, highest] of a white noise floor in dB below the speech, for speech that is too clean."""


@dataclass
class MixtureArguments:
    """A list of existing mixtures: exactly one of `tree`, `metadata` and `dataset`."""

    __pydantic_config__ = STRICT

    tree: str | None = None
    """A split of a generated Libri2Mix, such as Libri2Mix/wav16k/min/train-360."""
    metadata: str | None = None
    """A csv of LibriMix's metadata, mixed on the fly, with paths relative to root."""
    root: str | None = None
    """The root of the paths in metadata."""
    noise_root: str | None = None
    """The root of the noise paths in metadata, needed for mix_both and mix_single."""
    mode: Literal["min", "max"] = "min"
    """Cut every voice to the shortest, or pad every voice with zeros to the longest."""
    mix_type: MixType = "mix_clean"
    """Two or more voices, the same with noise, or one voice with noise."""
    dataset: str | None = None
    """A dataset of the Hub or a folder written by `save_to_disk`, with a column of files for each source."""
    split: str = "train"
    """The split of the dataset."""
    source_columns: list[str] | None = None
    """The columns of the sources."""
    mixture_column: str | None = None
    """The column of the mixture; null if the mixture is the sum of the sources."""
    weight: Positive = 1.0
    """Share of the draws, relative to the other lists and to all of the speech."""

    def __post_init__(self):
        if sum(value is not None for value in (self.tree, self.metadata, self.dataset)) != 1:
            raise SettingsError("A list of mixtures needs exactly one of `tree`, `metadata` and `dataset`.")
        if (self.metadata is None) != (self.root is None):
            raise SettingsError("`metadata` and `root` go together: give both or neither.")
        if self.noise_root is not None and self.metadata is None:
            raise SettingsError(
                "`noise_root` needs `metadata`: other lists have the noise in their mixtures. Leave it out."
            )
        self._check_kind()
        if self.dataset is not None and not self.source_columns:
            raise SettingsError("`dataset` needs `source_columns`, for instance [source_1, source_2].")

    def _check_kind(self) -> None:
        """Raise a `SettingsError` for keys of another kind of list."""
        defaults = {item.name: item.default for item in fields(self)}
        kinds = {
            "metadata": ("mode", "mix_type"),
            "tree": ("mix_type",),
            "dataset": ("split", "source_columns", "mixture_column"),
        }
        [own] = [kind for kind in kinds if getattr(self, kind) is not None]
        for name in sorted({name for names in kinds.values() for name in names} - set(kinds[own])):
            if (value := getattr(self, name)) != defaults[name]:
                raise SettingsError(f"`{name}` ({value!r}) does not apply to a `{own}`: leave it out.")

    @property
    def name(self) -> str:
        """The source of the list."""
        return self.tree or self.metadata or self.dataset


@dataclass
class TrainingArguments:
    """All settings of a run."""

    __pydantic_config__ = STRICT

    output_dir: str
    """The folder of checkpoints, models and the log; a run resumes from the newest checkpoint there."""
    speech: list[SpeechArguments] = field(default_factory=list)
    """Folders of voices to mix on the fly."""
    mixtures: list[MixtureArguments] = field(default_factory=list)
    """Lists of existing mixtures, alone or in addition to speech."""
    model: dict[str, Any] = field(default_factory=dict)
    """The architecture: `model_type` and fields of its configuration, or `pretrained` and the fields to change."""
    valid: MixtureArguments | None = None
    """The list of validation mixtures."""
    num_valid_mixtures: Count = 100
    """Number of mixtures of `valid` to score."""
    validate_first: bool = False
    """Also validate before the first step, and print the score before and after the run."""
    objective: Literal["matched", "mixit", "remixit"] = "matched"
    """matched: the family's own loss on references. The others need a waveform family, and recordings of several voices in
    place of speech. mixit: two recordings are summed, and sums of estimates must equal each (arXiv 2006.12701). remixit: a
    teacher separates recordings, and the model separates sums of its estimates; the teacher is `model.pretrained`, or with
    `ema_decay` the average of the weights (arXiv 2202.08862)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 72
    """Seed of weights, examples and dropout."""
    max_steps: Count = 300_000
    """Optimiser steps."""
    batch_size: Count = 64
    """Mixtures per step, over all processes."""
    num_chunks: Count = 1
    """Consecutive chunks per mixture; two or more train speaker embeddings of an AudioSlots, or sequential slots of a SlotGALR."""
    gradient_accumulation_steps: Count = 1
    """Number of parts that each process divides its share of the batch into: less memory, the same step except for dropout."""
    optimizer: Literal["adam", "muon"] = "adam"
    """muon: Muon for all matrices and Adam for the other parameters, at the same learning rate."""
    learning_rate: Positive = 2e-4
    """Peak learning rate."""
    warmup_steps: Annotated[int, Field(ge=0)] = 2500
    """Steps of linear warm-up."""
    decay_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Factor of the learning rate every decay_steps; null for a cosine to zero."""
    decay_steps: Count = 10_000
    """Steps between two such factors."""
    max_grad_norm: Positive = 0.05
    """Maximum norm of the gradients."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, which is validated and saved as `best` and `last`."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Precision of the forward and backward pass."""
    gradient_checkpointing: bool = False
    """Recompute the layers in the backward pass: less memory, a third slower, the same losses."""
    compile: bool = False
    """Use torch.compile: minutes at the start, faster steps; LSTMs stay outside of its graphs."""
    augmentations: list[AnyAugmentation] = field(default_factory=list)
    """Changes to the voices of `speech`, drawn anew for every mixture and applied in this order; the speed always comes first."""
    speech_on_device: bool = False
    """Copy all speech to the memory of the device and draw the mixtures there, without workers, files or transfers."""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare examples; 0 uses the main process."""
    log_steps: Count = 50
    """Steps between two lines of the log."""
    valid_steps: Count = 5000
    """Steps between two validations."""
    save_steps: Count = 5000
    """Steps between two checkpoints."""
    num_kept_checkpoints: Count = 2
    """Number of newest checkpoints to keep."""
    patience: Count | None = None
    """Stop after this many successive validations without improvement."""
    max_minutes: NotNegative | None = None
    """Stop with a checkpoint after this time, checked at every step."""

    def __post_init__(self):
        if not self.speech and not self.mixtures:
            raise SettingsError(
                "`speech` and `mixtures` are empty: name at least one folder of speech or list of mixtures."
            )
        types = [augmentation.type for augmentation in self.augmentations]
        if twice := {name for name in types if types.count(name) > 1}:
            raise SettingsError(f"`augmentations` lists {min(twice)} more than once: keep one of them.")
        self._check_recordings()
        if self.batch_size % self.gradient_accumulation_steps != 0:
            raise SettingsError(
                f"`batch_size` ({self.batch_size}) must be a multiple of `gradient_accumulation_steps` "
                f"({self.gradient_accumulation_steps})."
            )
        for name in ("patience", "validate_first"):
            if getattr(self, name) and self.valid is None:
                raise SettingsError(f"`{name}` ({getattr(self, name)}) needs validation mixtures: give `valid` too.")
        self._check_residence()

    def _check_recordings(self) -> None:
        """Raise a `SettingsError` for settings that do not fit recordings without sources."""
        if not self.is_unsupervised:
            return
        if self.mixtures:
            raise SettingsError(
                f"`objective` {self.objective!r} needs recordings: list them under `speech`, not under `mixtures`."
            )
        if self.objective == "remixit" and self.model.get("pretrained") is None:
            raise SettingsError(
                "`objective` 'remixit' needs a model that separates already: name it as `model.pretrained`, or train "
                "from the beginning by 'mixit'."
            )

    @property
    def is_unsupervised(self) -> bool:
        """Whether `speech` holds recordings without sources."""
        return self.objective != "matched"

    def _check_residence(self) -> None:
        if not self.speech_on_device:
            return
        if self.mixtures:
            raise SettingsError(
                "`speech_on_device` draws only from `speech`: leave `mixtures` empty, or set it to false."
            )
        if on_disk := [index for index, folder in enumerate(self.speech) if not folder.in_memory]:
            raise SettingsError(
                f"`speech_on_device` copies all speech to the device: set `speech.{on_disk[0]}.in_memory` to true."
            )
        if self.num_workers > 0:
            raise SettingsError(f"`speech_on_device` uses no workers: set `num_workers` ({self.num_workers}) to 0.")

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
        """Plain values, as in a yaml file."""
        return asdict(self)


def load_arguments(path: str | Path, overrides: list[str]) -> TrainingArguments:
    """
    Read a yaml file and apply overrides such as `batch_size=8` or `speech.0.root=DIR`.

    Raises:
        `SettingsError`: an unknown or missing key, an override without `=`, a value out of range.
    """
    return load_settings(TrainingArguments, path, overrides)
