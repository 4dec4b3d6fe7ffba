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
"""Evaluation mixtures, read in other processes."""

import sys

from torch.utils.data import Dataset

from ..data.mixtures import Mixture, MixtureList
from .pitch import median_f0s, require_torchaudio
from .transmission import Transmission


class MixtureReader(Dataset):
    """The mixtures of a list after a transmission, each with known properties of its voices."""

    def __init__(self, mixtures: MixtureList, indices: list[int], with_pitch: bool, transmission: Transmission):
        self.mixtures = mixtures
        self.indices = indices
        self.with_pitch = with_pitch
        self.transmission = transmission

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Mixture, dict[str, str | float]]:
        mixture = self.mixtures[self.indices[index]]
        voices = describe_speakers(self.mixtures.rows[self.indices[index]])
        if self.with_pitch:
            for number, f0_hz in enumerate(median_f0s(mixture.references, self.mixtures.sampling_rate), start=1):
                voices[f"source_{number}_f0_hz"] = f0_hz
        return self.transmission.carry(mixture, self.mixtures.sampling_rate), voices


def describe_speakers(row: dict) -> dict[str, str]:
    """Speakers and their sex, if the list contains them."""
    return {
        f"source_{number}_{name}": value
        for name, values in (("speaker", row["speakers"]), ("sex", row["sexes"]))
        for number, value in enumerate(values, start=1)
        if value
    }


def has_pitch() -> bool:
    """Whether the pitch of the voices can be measured; prints the reason if not."""
    try:
        require_torchaudio()
    except ImportError as error:
        print(f"The pitch of the voices is not measured: {error}", file=sys.stderr)
        return False
    return True
