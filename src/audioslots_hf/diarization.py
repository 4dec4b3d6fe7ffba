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
"""Who speaks when in a recording, as files for other programs: RTTM and JSON."""

import json
import math
from typing import Any

import torch

from .conversation import ConversationPlan


class ConversationDescription:
    """
    Describes a separated conversation.

    Args:
        recording (`str`):
            Name of the recording's file.
        plan ([`ConversationPlan`]):
            Who speaks when.
        sampling_rate (`int`):
            Of the recording, in hertz.
    """

    def __init__(self, recording: str, plan: ConversationPlan, sampling_rate: int):
        self.recording = recording
        self.plan = plan
        self.sampling_rate = sampling_rate
        self.tracks: list[str] = []
        self.warnings: list[str] = []
        self.energies = torch.zeros(plan.num_voices, dtype=torch.float64)

    def add(self, block: torch.Tensor) -> None:
        """Measure the level of the next part of the tracks, `(num_channels, num_voices, num_samples)`."""
        self.energies += block.double().square().sum(dim=-1).mean(dim=0)

    def warn(self, warning: str) -> None:
        """Add a warning for readers of the results."""
        self.warnings.append(warning)

    def to_rttm(self) -> str:
        """One line for each segment, by start: the format of the NIST evaluations of diarization."""
        # names are one word there
        name = "_".join(self.recording.rpartition(".")[0].split()) or "recording"
        segments = sorted(
            (start, end, voice) for voice, spans in enumerate(self.plan.segments) for start, end in spans
        )
        return "".join(
            f"SPEAKER {name} 1 {start:.3f} {end - start:.3f} <NA> <NA> source_{voice} <NA> <NA>\n"
            for start, end, voice in segments
        )

    def describe(self) -> dict[str, Any]:
        """Segments, seconds of speech and levels while speaking of each voice, overlap share and warnings."""
        sources = []
        for voice, segments in enumerate(self.plan.segments):
            speech_s = sum(end - start for start, end in segments)
            power = float(self.energies[voice]) / max(speech_s * self.sampling_rate, 1)
            sources.append(
                {
                    "label": f"source_{voice}",
                    "track": self.tracks[voice],
                    "speech_s": round(speech_s, 3),
                    "level_db": round(10 * math.log10(power), 2) if segments and power > 0 else None,
                    "segments": [[round(start, 3), round(end, 3)] for start, end in segments],
                }
            )
        return {
            "recording": self.recording,
            "sampling_rate": self.sampling_rate,
            "duration_s": round(self.plan.duration_s, 3),
            "num_speakers": self.plan.num_voices,
            "overlap_share": round(self.plan.overlap_share, 4),
            "sources": sources,
            "warnings": self.warnings,
        }

    def to_json(self) -> str:
        """The description as a file."""
        return json.dumps(self.describe(), indent=2, ensure_ascii=False) + "\n"


__all__ = ["ConversationDescription"]
