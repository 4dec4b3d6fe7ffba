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
"""Sets of mixtures of your own speech, drawn by the recipe of Libri2Mix in its layout (arXiv 2005.11262 and its scripts)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from tqdm.auto import tqdm

from audioslots_hf.files import rename, working_folder, write_csv
from audioslots_hf.layouts import walk_files
from audioslots_hf.leftovers import remove_leftovers
from audioslots_hf.suffixes import AUDIO_SUFFIXES

from ..arguments import MixtureArguments
from ..settings import SettingsError
from .audio import audio_length, read_audio
from .libri2mix import ORIGINAL_RATE, extend_noise, utterance_id
from .loudness import MAX_PEAK, NOISE_LUFS, SPEECH_LUFS, audible_lufs, gain_between
from .mixtures import MixtureList, load_mixtures
from .speech import ListedFile, list_speech


MIN_UTTERANCE_S = 3
# maximum number of draws for a mixture: a pair that was drawn before is rejected
MAX_DRAWS = 1000


@dataclass
class Voice:
    """An utterance of a mixture, or its noise: samples at 16 kHz, and the target loudness."""

    path: Path
    samples: np.ndarray
    target_lufs: float


def draw_gains(voices: list[Voice]) -> list[float]:
    """
    The gain of every voice: to its loudness, but limited by the peak, alone and in the mixture.

    The loudness is that of the voice padded with zeros to the length of the longest.

    Raises:
        `AudioError`: a voice is silent.
    """
    num_samples = max(len(voice.samples) for voice in voices)
    padded = [np.pad(voice.samples, (0, num_samples - len(voice.samples))) for voice in voices]
    gains = []
    for voice, samples in zip(voices, padded, strict=True):
        gain = gain_between(audible_lufs(voice.path, samples, ORIGINAL_RATE), voice.target_lufs)
        peak = np.abs(samples).max()
        gains.append(gain if gain * peak < 1 else MAX_PEAK / peak)
    mixture = sum(gain * samples for gain, samples in zip(gains, padded, strict=True))
    share = min(1.0, MAX_PEAK / np.abs(mixture).max())
    return [float(share * gain) for gain in gains]


def check_speakers(files: list[ListedFile], num_sources: int, num_mixtures: int) -> dict[str, list[Path]]:
    """
    The sufficiently long utterances of every speaker.

    Raises:
        `SettingsError`: there are too few for the number of different mixtures.
    """
    speakers: dict[str, list[Path]] = {}
    for file in files:
        if audio_length(file.path, ORIGINAL_RATE) >= MIN_UTTERANCE_S * ORIGINAL_RATE:
            speakers.setdefault(file.speaker, []).append(file.path)
    if len(speakers) < num_sources:
        raise SettingsError(
            f"Only {len(speakers)} speakers have an utterance of {MIN_UTTERANCE_S} s or more, but mixtures of "
            f"{num_sources} need as many: add speech."
        )
    # elementary symmetric polynomial: the number of sets of utterances of different speakers
    sets = [1] + [0] * num_sources
    for utterances in speakers.values():
        for size in range(num_sources, 0, -1):
            sets[size] += sets[size - 1] * len(utterances)
    if sets[num_sources] < num_mixtures:
        raise SettingsError(
            f"The speech allows {sets[num_sources]} different mixtures of {num_sources}, not {num_mixtures}: lower --num-mixtures."
        )
    return speakers


def draw_utterances(speakers: dict[str, list[Path]], num_sources: int, rng: np.random.Generator) -> list[Path]:
    """Draw utterances of different speakers; every utterance is equally likely."""
    names = list(speakers)
    num_files = np.array([len(speakers[name]) for name in names], dtype=np.float64)
    drawn = rng.choice(len(names), size=num_sources, replace=False, p=num_files / num_files.sum())
    return [speakers[names[index]][int(rng.integers(len(speakers[names[index]])))] for index in drawn]


def draw_metadata(
    speech: Path, num_mixtures: int, num_sources: int, noise: Path | None, seed: int
) -> Iterator[dict[str, str | float]]:
    """
    Draw rows of a LibriMix metadata csv by its recipe; neither a set of utterances nor a `mixture_ID` occurs twice.

    Args:
        speech (`Path`):
            Folder of speech by speaker.
        num_mixtures (`int`):
            Number of rows.
        num_sources (`int`):
            Voices of a mixture, 2 to 5.
        noise (`Path`, *optional*):
            Folder of noise.
        seed (`int`):
            Seed of every draw.
    """
    speakers = check_speakers(list_speech(speech), num_sources, num_mixtures)
    noises = list_noise(noise) if noise is not None else []
    rng = np.random.default_rng(seed)
    seen = set()
    while len(seen) < num_mixtures:
        for _ in range(MAX_DRAWS):
            paths = draw_utterances(speakers, num_sources, rng)
            # files that differ only in their suffix have the same id
            drawn = "_".join(sorted(utterance_id(path.relative_to(speech)) for path in paths))
            if drawn not in seen:
                break
        else:
            raise SettingsError(f"Almost no new pair is left after {len(seen)} mixtures: lower --num-mixtures.")
        seen.add(drawn)
        voices = [Voice(path, read_audio(path, ORIGINAL_RATE), rng.uniform(*SPEECH_LUFS)) for path in paths]
        if noises:
            path = noises[int(rng.integers(len(noises)))]
            length = max(len(voice.samples) for voice in voices)
            voices.append(Voice(path, extend_noise(str(path), length, ORIGINAL_RATE), rng.uniform(*NOISE_LUFS)))
        yield metadata_row(voices, num_sources, speech, noise)


def metadata_row(voices: list[Voice], num_sources: int, speech: Path, noise: Path | None) -> dict[str, str | float]:
    """The columns of LibriMix for one mixture."""
    gains = draw_gains(voices)
    row: dict[str, str | float] = {
        "mixture_ID": "_".join(utterance_id(voice.path.relative_to(speech)) for voice in voices[:num_sources])
    }
    for number, (voice, gain) in enumerate(zip(voices[:num_sources], gains, strict=False), start=1):
        row[f"source_{number}_path"] = voice.path.relative_to(speech).as_posix()
        row[f"source_{number}_gain"] = gain
    has_noise = len(voices) > num_sources
    row["noise_path"] = voices[-1].path.relative_to(noise).as_posix() if has_noise else ""
    row["noise_gain"] = gains[-1] if has_noise else ""
    return row


def list_noise(folder: Path) -> list[Path]:
    """
    The noise files of a folder.

    Raises:
        `SettingsError`: there are none.
    """
    files = walk_files(folder, AUDIO_SUFFIXES)
    if not files:
        raise SettingsError(f"{folder} contains no noise (.wav, .flac, .mp3 and so on).")
    return files


@dataclass
class Prepared:
    """The folder and the name of a set."""

    out: Path
    split: str
    num_sources: int
    sampling_rates: list[int]
    modes: list[str]
    mix_types: list[str]

    @property
    def name(self) -> str:
        """Libri2Mix, Libri3Mix, ..."""
        return f"Libri{self.num_sources}Mix"

    @property
    def metadata(self) -> Path:
        """The csv from which all other files are made."""
        return self.out / "metadata" / self.name / f"{self.name.lower()}_{self.split}.csv"

    def folder(self, sampling_rate: int, mode: str) -> Path:
        """The folder of a generated split."""
        return self.out / self.name / f"wav{sampling_rate // 1000}k" / mode / self.split


def prepare(
    speech: Path, prepared: Prepared, num_mixtures: int, noise: Path | None = None, seed: int = 72
) -> list[Path]:
    """
    Draw a set of mixtures and write it as by the scripts of LibriMix: a metadata csv and a tree for each rate and mode.

    The same arguments write the same files. Existing files are never overwritten, and a failure leaves no files.

    Returns:
        The folders of the trees.

    Raises:
        `SettingsError`: there is too little speech, the noise for a type is missing, or the set exists.
    """
    if noise is None and (noisy := [name for name in prepared.mix_types if name != "mix_clean"]):
        raise SettingsError(f"{noisy[0]} needs noise: pass --noise DIR, or --types mix_clean.")
    folders = {
        (rate, mode): prepared.folder(rate, mode) for rate in prepared.sampling_rates for mode in prepared.modes
    }
    for path in (prepared.metadata, *folders.values()):
        if path.exists():
            raise SettingsError(f"{path} exists: choose another --out or --split, or remove it.")
    rows = draw_metadata(speech, num_mixtures, prepared.num_sources, noise, seed)
    rows = list(tqdm(rows, total=num_mixtures, desc="Drawing", unit="mixture"))
    prepared.out.mkdir(parents=True, exist_ok=True)
    remove_leftovers([prepared.out])
    with working_folder(prepared.out) as folder:
        staged = replace(prepared, out=folder)
        staged.metadata.parent.mkdir(parents=True)
        write_csv(staged.metadata, rows)
        for (rate, mode), tree in folders.items():
            write_tree(staged, tree, speech, noise, rate, mode)
        publish(staged, prepared)
    return list(folders.values())


def publish(staged: Prepared, prepared: Prepared) -> None:
    """Rename a complete set: first the trees and their csv files, then the csv from which they are made."""
    trees = {staged.folder(rate, mode) for rate in staged.sampling_rates for mode in staged.modes}
    lists = [path for tree in trees for path in (tree.parent / "metadata").iterdir()]
    for path in (*trees, *lists, staged.metadata):
        target = prepared.out / path.relative_to(staged.out)
        target.parent.mkdir(parents=True, exist_ok=True)
        rename(path, target)


def write_tree(staged: Prepared, folder: Path, speech: Path, noise: Path | None, rate: int, mode: str) -> None:
    """Write one generated split that will become `folder`, and a csv for each type beside it."""
    temporary = staged.folder(rate, mode)
    arguments = {"metadata": str(staged.metadata), "root": str(speech), "mode": mode}
    metadata = temporary.parent / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    for mix_type in staged.mix_types:
        noise_root = str(noise) if mix_type != "mix_clean" else None
        listed = MixtureArguments(**arguments, mix_type=mix_type, noise_root=noise_root)
        mixtures = load_mixtures(listed, rate, None, show_progress=False)
        files = tqdm(range(len(mixtures)), desc=f"{folder.name} {rate} Hz {mode} {mix_type}", unit="mixture")
        rows = [write_mixture(mixtures, index, temporary, folder, mix_type) for index in files]
        write_csv(metadata / f"mixture_{staged.split}_{mix_type}.csv", rows)


def write_mixture(
    mixtures: MixtureList, index: int, temporary: Path, folder: Path, mix_type: str
) -> dict[str, str | int]:
    """Write the files of one mixture -> its row in the csv of the tree."""
    mixture = mixtures[index]
    name = f"{mixture.mixture_id}.wav"
    tracks = {mix_type: mixture.waveform}
    tracks |= {f"s{number}": source for number, source in enumerate(mixture.references, start=1)}
    if mixture.rest is not None:
        tracks["noise"] = mixture.rest
    row: dict[str, str | int] = {"mixture_ID": mixture.mixture_id}
    for track, samples in tracks.items():
        path = temporary / track / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples.numpy(), mixtures.sampling_rate, subtype="PCM_16")
        column = {mix_type: "mixture", "noise": "noise"}.get(track, f"source_{track[1:]}")
        row[f"{column}_path"] = str(folder / track / name)
    row["length"] = len(mixture.waveform)
    return row
