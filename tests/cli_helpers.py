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
"""Recordings for the tests of the command, and the command itself."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from audioslots_hf.chunking import Chunk, SeparatedChunks
from audioslots_hf.separator import Separator
from tests.audio_helpers import tones


RATE = 16000
NUM_SAMPLES = 6001


def write(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tones(NUM_SAMPLES, rate) if samples is None else samples
    soundfile.write(
        path, samples, rate, **({"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else options)
    )
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def replace_model(monkeypatch, shares: list[float]):
    """Make every source this share of the mixture."""

    def separate_chunks(self, chunks: list[Chunk]) -> SeparatedChunks:
        rows = [row for chunk in chunks for row in chunk.samples]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return SeparatedChunks(torch.stack([share * padded for share in shares], dim=1))

    monkeypatch.setattr(Separator, "separate_chunks", separate_chunks)
