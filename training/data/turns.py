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
"""Turns: who of the voices of a crop sounds when, as in a conversation."""

import numpy as np
import torch


# the gates open and close within this time
STEP_S = 0.01
# of a turn in a crop of a few seconds
TURN_S = (0.4, 3.5)
# share of the changes of turn at which the next voice begins before the last one ends, and for how long; gaps of the others
OVERLAP_SHARE, OVERLAP_S, GAP_S = 0.4, (0.2, 1.5), (0.0, 0.7)
# how often the same voice goes on after a pause
SAME_VOICE_SHARE = 0.15


def draw_gates(rng: np.random.Generator, num_voices: int, num_steps: int) -> np.ndarray:
    """
    The voices of a crop in turns, with gaps and overlaps: 1 where a voice sounds, float32 (num_voices, num_steps)

    At least one voice sounds at some time.
    """
    gates = np.zeros((num_voices, num_steps), dtype=np.float32)
    duration_s = num_steps * STEP_S
    # the crop begins anywhere within a turn
    start_s, voice = -rng.uniform(0, TURN_S[1]), int(rng.integers(num_voices))
    while start_s < duration_s:
        end_s = start_s + rng.uniform(*TURN_S)
        gates[voice, int(max(start_s, 0) / STEP_S) : int(max(end_s, 0) / STEP_S)] = 1
        is_overlap = rng.random() < OVERLAP_SHARE
        start_s = end_s - rng.uniform(*OVERLAP_S) if is_overlap else end_s + rng.uniform(*GAP_S)
        if rng.random() >= SAME_VOICE_SHARE:
            voice = (voice + int(rng.integers(1, max(2, num_voices)))) % num_voices
    return gates if gates.any() else np.ones_like(gates)


def draw_lone_voice(rng: np.random.Generator, num_voices: int, num_steps: int) -> np.ndarray:
    """One voice of the crop alone, float32 (num_voices, num_steps)"""
    gates = np.zeros((num_voices, num_steps), dtype=np.float32)
    gates[int(rng.integers(num_voices))] = 1
    return gates


def gate_voices(voices: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    """Voices (..., num_samples) where their gates (..., num_steps) are open, with a linear ramp of a step at each change"""
    leading, num_steps = gates.shape[:-1], gates.shape[-1]
    ramps = torch.nn.functional.interpolate(
        gates.reshape(1, -1, num_steps), voices.shape[-1], mode="linear", align_corners=False
    )
    return voices * ramps.view(*leading, -1)
