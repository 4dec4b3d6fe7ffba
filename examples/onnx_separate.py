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
Separate a recording with an exported GALR or DPRNN, by NumPy and ONNX Runtime alone: the rules of scaling, padding and chunking.

`audioslots export --format onnx -o model.onnx`, then `python examples/onnx_separate.py model.onnx mixture.wav separated`.
"""

import sys
from itertools import permutations

import numpy as np
import onnxruntime
import soundfile


def separate(session: onnxruntime.InferenceSession, mixture: np.ndarray) -> np.ndarray:
    """Separate a waveform of any length: float32 (num_samples,) at the rate of the model -> (num_sources, num_samples)"""
    sizes = session.get_modelmeta().custom_metadata_map
    if sizes.get("input_name") != "input_values":
        raise ValueError("The model does not take waveforms: this example runs an exported GALR or DPRNN.")
    if mixture.ndim != 1 or len(mixture) == 0:
        raise ValueError(f"The mixture has the shape {mixture.shape}: give one channel with at least one sample.")
    length, rate, num_sources = (int(sizes[name]) for name in ("chunk_length", "sampling_rate", "num_sources"))
    # chunks overlap by a second, short ones by three quarters, and fade into each other
    hop = max(1, length // 4, length - rate)
    window = np.sin(np.pi * np.arange(1, length + 1) / (length + 1)) ** 2
    sums, weights = np.zeros((num_sources, len(mixture))), np.zeros(len(mixture))
    for start in range(0, max(1, len(mixture) - length + hop), hop):
        chunk = mixture[start : start + length]
        # the level of the samples, before zeros fill the chunk; silence keeps its own
        level = float(np.sqrt(np.mean(np.square(chunk, dtype=np.float64)))) or 1.0
        padded = np.pad(chunk / level, (0, length - len(chunk))).astype(np.float32)[None]
        estimates = level * session.run(["estimates"], {"input_values": padded})[0][0, :, : len(chunk)]
        part = slice(start, start + len(chunk))
        covered = weights[part] > 0
        estimates = estimates[find_order(estimates[:, covered], sums[:, part][:, covered])]
        sums[:, part] += window[: len(chunk)] * estimates
        weights[part] += window[: len(chunk)]
    return (sums / weights).astype(np.float32)


def find_order(estimates: np.ndarray, tracks: np.ndarray) -> list[int]:
    """Each chunk numbers its sources anew: the order that fits the tracks, both (num_sources, num_overlapping_samples)."""
    scores = estimates @ tracks.T
    tracks_of = range(len(scores))
    return list(max(permutations(tracks_of), key=lambda order: scores[order, tracks_of].sum()))


def main(model: str, recording: str, name: str) -> None:
    """Separate a file into `name_source_0.wav` and so on."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    expected = int(session.get_modelmeta().custom_metadata_map["sampling_rate"])
    if rate != expected:
        raise SystemExit(
            f"{recording} has {rate} Hz and the model {expected} Hz: resample it first, for instance with sox."
        )
    for index, source in enumerate(separate(session, samples.mean(axis=1))):
        soundfile.write(f"{name}_source_{index}.wav", source, rate, "FLOAT")


if __name__ == "__main__":
    main(*sys.argv[1:])
