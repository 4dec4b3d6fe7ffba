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
"""
Rooms: the impulse responses from people in a room to one microphone.

Sizes and positions are those of WHAMR! (Maciejewski et al. 2020, "WHAMR!: Noisy and reverberant single-channel speech separation",
arXiv 1910.10279): a microphone near the middle, and people 0.66 to 2 m away, at any angle. Image sources come from pyroomacoustics.
"""

import numpy as np
from scipy.signal import fftconvolve


# shorter times need walls that absorb more than all sound in large rooms
MIN_RT60_S = 0.2
# image sources of longer ones take many seconds
MAX_RT60_S = 0.6
# length and width, height, in metres
WIDTH_M = (5.0, 10.0)
HEIGHT_M = (3.0, 4.0)
# of the microphone from the middle of the room, and of mouths and microphone above the floor
OFFSET_M = 0.2
LEVEL_M = (0.9, 1.8)
DISTANCE_M = (0.66, 2.0)


def require_pyroomacoustics() -> None:
    """Raise an `ImportError` that names the fix if rooms cannot be simulated."""
    try:
        import pyroomacoustics  # noqa: F401
    except ImportError as error:
        raise ImportError('Rooms need pyroomacoustics: pip install "audioslots-hf[rooms]"') from error


def draw_responses(num_voices: int, rt60_s: float, sampling_rate: int, rng: np.random.Generator) -> list[np.ndarray]:
    """
    Draw a room and the places of people in it.

    Args:
        num_voices (`int`):
            Number of people.
        rt60_s (`float`):
            Reverberation time in seconds, by Sabine's formula; that of the image sources is up to a half longer.
        sampling_rate (`int`):
            In hertz.
        rng (`np.random.Generator`):
            Of all draws.

    Returns:
        The impulse response of each person, float32 of its own length, from the direct sound on and with an energy of 1.
    """
    require_pyroomacoustics()
    import pyroomacoustics

    size = np.array([*rng.uniform(*WIDTH_M, 2), rng.uniform(*HEIGHT_M)])
    absorption, max_order = pyroomacoustics.inverse_sabine(rt60_s, size)
    room = pyroomacoustics.ShoeBox(
        size, fs=sampling_rate, materials=pyroomacoustics.Material(absorption), max_order=max_order
    )
    microphone = np.array([*(size[:2] / 2 + rng.uniform(-OFFSET_M, OFFSET_M, 2)), rng.uniform(*LEVEL_M)])
    room.add_microphone(microphone)
    for _ in range(num_voices):
        distance, angle = rng.uniform(*DISTANCE_M), rng.uniform(0, 2 * np.pi)
        room.add_source(
            [
                microphone[0] + distance * np.cos(angle),
                microphone[1] + distance * np.sin(angle),
                rng.uniform(*LEVEL_M),
            ]
        )
    room.compute_rir()
    return [_from_direct_sound(response) for response in room.rir[0]]


def _from_direct_sound(response: np.ndarray) -> np.ndarray:
    """A response without the time to the microphone, so that speech keeps its place, and with an energy of 1."""
    response = response[np.abs(response).argmax() :].astype(np.float32)
    return response / np.sqrt(np.square(response).sum())


def reverberate(references: np.ndarray, responses: list[np.ndarray]) -> np.ndarray:
    """Voices `(num_voices, num_samples)` as they sound in the room, float32 of the same shape."""
    heard = [
        fftconvolve(reference, response)[: references.shape[1]]
        for reference, response in zip(references, responses, strict=True)
    ]
    return np.stack(heard).astype(np.float32)
