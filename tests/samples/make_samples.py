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
Rebuild the sample recordings of this folder from two unpacked Debian packages.

    apt-get download festvox-ru pocketsphinx-testdata
    dpkg-deb -x festvox-ru_*.deb festvox-ru
    dpkg-deb -x pocketsphinx-testdata_*.deb pocketsphinx-testdata
    python tests/samples/make_samples.py festvox-ru pocketsphinx-testdata

Everything is mono at 16 kHz in 16 bits, as the packages have it.
"""

import argparse
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile


SAMPLING_RATE = 16_000
LOUDNESS_LUFS = -28.0
MARGIN_S = 0.1
SILENCE_DB = -35.0
# speaker -> (folder inside the package, clip of the mixture, clips of the miniature corpus)
SPEAKERS = {
    "librivox_austen": (
        "usr/share/pocketsphinx/test/data/librivox",
        "sense_and_sensibility_01_austen_64kb-0870",
        tuple(f"sense_and_sensibility_01_austen_64kb-{number}" for number in ("0880", "0890", "0930")),
    ),
    "msu_ru_nsh": (
        "usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav",
        "ru_0839",
        ("ru_0045", "ru_0556", "ru_0749"),
    ),
}
NOTE = "Modified: trimmed, and in the two_voices files also scaled, padded and mixed. See NOTICE."


def read_speech(path: Path) -> np.ndarray:
    """Read a clip as float64 of shape `(num_samples,)` and cut the silence at both ends down to `MARGIN_S`."""
    audio, rate = soundfile.read(path)
    if rate != SAMPLING_RATE or audio.ndim != 1:
        raise ValueError(f"{path} is not mono at {SAMPLING_RATE} Hz.")
    frame_length = SAMPLING_RATE // 50
    frames = audio[: len(audio) // frame_length * frame_length].reshape(-1, frame_length)
    power = np.mean(frames**2, axis=1)
    speech = np.flatnonzero(power > power.max() * 10 ** (SILENCE_DB / 10))
    margin = int(MARGIN_S * SAMPLING_RATE)
    return audio[max(speech[0] * frame_length - margin, 0) : (speech[-1] + 1) * frame_length + margin]


def scale_to_loudness(audio: np.ndarray) -> np.ndarray:
    """Scale a waveform of shape `(num_samples,)` to `LOUDNESS_LUFS` (ITU-R BS.1770-4, gated)."""
    loudness = pyloudnorm.Meter(SAMPLING_RATE).integrated_loudness(audio)
    return audio * 10 ** ((LOUDNESS_LUFS - loudness) / 20)


def pad_to_length(audio: np.ndarray, num_samples: int) -> np.ndarray:
    """Centre a waveform in `num_samples` samples of silence."""
    before = (num_samples - len(audio)) // 2
    return np.pad(audio, (before, num_samples - len(audio) - before))


def to_pcm16(audio: np.ndarray) -> np.ndarray:
    """Round a waveform in [-1, 1) to 16 bits."""
    return np.round(audio * 2**15).astype(np.int16)


def write_flac(path: Path, pcm: np.ndarray) -> None:
    """Write 16-bit samples; the comment tag marks the file as modified, as one of the licences asks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", SAMPLING_RATE, 1, subtype="PCM_16", format="FLAC") as file:
        file.comment = NOTE
        file.write(pcm)


def make_mixture(folders: dict[str, Path], out: Path) -> None:
    """Write `two_voices.flac` and its two references; the 16-bit references sum to the mixture exactly."""
    sources = [read_speech(folders[name] / f"{clip}.wav") for name, (_, clip, _) in SPEAKERS.items()]
    num_samples = max(map(len, sources))
    references = [to_pcm16(pad_to_length(scale_to_loudness(source), num_samples)) for source in sources]
    for index, reference in enumerate(references):
        write_flac(out / f"two_voices_source_{index}.flac", reference)
    write_flac(out / "two_voices.flac", references[0] + references[1])


def make_corpus(folders: dict[str, Path], out: Path) -> None:
    """Write `speech/SPEAKER/CLIP.flac`: trimmed clips at their original level."""
    for name, (_, _, clips) in SPEAKERS.items():
        for clip in clips:
            write_flac(out / "speech" / name / f"{clip}.flac", to_pcm16(read_speech(folders[name] / f"{clip}.wav")))


def main() -> None:
    """Read the two folders from the command line and write the samples beside this script."""
    parser = argparse.ArgumentParser(description="Rebuild the sample recordings from two unpacked Debian packages.")
    parser.add_argument("festvox_ru", type=Path, help="folder of the unpacked festvox-ru package")
    parser.add_argument(
        "pocketsphinx_testdata", type=Path, help="folder of the unpacked pocketsphinx-testdata package"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="where to write (default: this folder)"
    )
    args = parser.parse_args()
    roots = {"librivox_austen": args.pocketsphinx_testdata, "msu_ru_nsh": args.festvox_ru}
    folders = {name: roots[name] / folder for name, (folder, _, _) in SPEAKERS.items()}
    make_mixture(folders, args.out)
    make_corpus(folders, args.out)


if __name__ == "__main__":
    main()
