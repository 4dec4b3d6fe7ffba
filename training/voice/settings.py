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
"""All settings of a run that trains a voice encoder."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..settings import STRICT, Range, SettingsError


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# a crop is a multiple of it, so that few lengths occur
DURATION_STEP_S = 0.25


@dataclass
class VoiceFolder:
    """One folder of speech by speaker."""

    __pydantic_config__ = STRICT

    root: str
    """Folder with a subfolder per speaker."""
    utterances: str | None = None
    """A csv with path and speaker; null for every audio file below root, by its first folder."""
    weight: Positive = 1.0
    """Share of the draws, relative to the other folders."""


@dataclass
class VoiceAugmentations:
    """Changes to the crops of a batch, drawn anew for each crop."""

    __pydantic_config__ = STRICT

    speeds: Annotated[list[Positive], Field(min_length=1)] = field(default_factory=lambda: [1.0])
    """Speeds, pitch included, drawn with equal probability: each makes another speaker of a speaker."""
    formants: Range[Positive] | None = None
    """Range of the factor by which the formants of half of the voices move, pitch not included; only with a teacher."""
    tilt_db: Annotated[float, Field(ge=0)] = 0.0
    """Range, up and down, of the gain of high over low frequencies."""
    narrow_share: Share = 0.0
    """Share of the crops that go through a telephone band of 200-400 to 3200-3900 Hz."""
    high_pass_share: Share = 0.0
    """Share of the other crops that lose frequencies below a cutoff from 20 to 400 Hz."""
    separated_share: Share = 0.0
    """Share of the crops that are separated by a mask from a mixture with another voice of the batch."""
    separator_share: Share = 0.0
    """Share of the crops that galr-small separates from a mixture with another voice of the batch."""
    leak_share: Share = 0.0
    """Share of the crops that another voice of the batch leaks into."""
    leak_db: Range[float] = field(default_factory=lambda: [-25.0, -5.0])
    """Range of the level of the leak relative to the voice."""
    noise_share: Share = 0.0
    """Share of the crops with noise."""
    noise_db: Range[float] = field(default_factory=lambda: [-40.0, -10.0])
    """Range of the level of the noise relative to the voice."""
    gap_share: Share = 0.0
    """Share of the crops with a gap of up to half of it, in which only leak and noise remain."""


@dataclass
class VoiceTrainingArguments:
    """All settings of a run."""

    __pydantic_config__ = STRICT

    output_dir: str
    """The folder of checkpoints, the model and the log; a run resumes from the checkpoint there."""
    speech: Annotated[list[VoiceFolder], Field(min_length=1)]
    """Folders of the voices to distinguish."""
    valid: list[VoiceFolder] = field(default_factory=list)
    """Folders of other voices, on which the equal error rate is measured."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's configuration that change."""
    pretrained: str | None = None
    """The folder of a model to start from; its configuration holds, and the classes may be others."""
    teacher: bool = False
    """Imitate the embeddings of CAM++, which hears two clips of each voice of a batch; without, tell the voices apart as classes."""
    clip_s: Positive = 3.0
    """Length of a clip that the teacher hears, in seconds; the model hears a crop of it."""
    augmentations: VoiceAugmentations = field(default_factory=VoiceAugmentations)
    """Changes to the crops."""
    duration_s: Range[float] = field(default_factory=lambda: [1.0, 3.0])
    """Range of the length of the crops in seconds, multiples of 0.25; one length for a batch."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 72
    """Seed of weights and crops."""
    max_steps: Count = 4000
    """Optimiser steps; a resumed run may have more or fewer."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Crops per step."""
    learning_rate: Positive = 2e-3
    """Peak learning rate; a cosine leads to zero."""
    warmup_share: Share = 0.05
    """Share of the steps in which the learning rate rises to its peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    """Of AdamW."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Additive angular margin in radians, reached after half of the steps; without a teacher."""
    scale: Positive = 30.0
    """Factor of the cosines before the softmax."""
    bf16: bool = False
    """Convolutions in bfloat16."""
    log_steps: Count = 20
    """Steps between two lines of the log."""
    valid_steps: Count = 500
    """Steps between two validations."""
    save_steps: Count = 200
    """Steps between two checkpoints."""

    def __post_init__(self):
        if self.pretrained is not None and self.model:
            raise SettingsError(f"`model` ({self.model}) conflicts with `pretrained`: leave one of them out.")
        if self.duration_s[0] <= 0 or any(bound % DURATION_STEP_S for bound in self.duration_s):
            raise SettingsError(
                f"`duration_s` ({self.duration_s}) must hold positive multiples of {DURATION_STEP_S} s."
            )
        shares = self.augmentations.separated_share + self.augmentations.separator_share
        if shares > 1:
            raise SettingsError(
                f"`separated_share` and `separator_share` add up to {shares}: they must be at most 1 together."
            )
        if not self.teacher and self.augmentations.formants is not None:
            raise SettingsError(
                f"`augmentations.formants` ({self.augmentations.formants}) needs `teacher: true`: add it, or leave them out."
            )
        if self.teacher and self.clip_s < self.duration_s[1]:
            raise SettingsError(
                f"`clip_s` ({self.clip_s}) must be at least the longest `duration_s` ({self.duration_s[1]}): raise it, or shorten the crops."
            )
        if self.teacher and self.batch_size % 2 != 0:
            raise SettingsError(
                f"`batch_size` ({self.batch_size}) must be even with a teacher, which hears two clips of each voice."
            )

    def check_paths(self) -> None:
        """Raise a `SettingsError` that names the first missing path and its key."""
        if self.pretrained is not None and not Path(self.pretrained).is_dir():
            raise SettingsError(f"`pretrained` names {self.pretrained}, which is no folder: pass pretrained=DIR.")
        for key in ("speech", "valid"):
            for index, folder in enumerate(getattr(self, key)):
                for name in ("root", "utterances"):
                    path = getattr(folder, name)
                    if path is not None and not Path(path).exists():
                        raise SettingsError(
                            f"`{key}.{index}.{name}` names {path}, which does not exist: pass {key}.{index}.{name}=PATH."
                        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in a yaml file."""
        return asdict(self)
