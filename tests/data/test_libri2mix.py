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
import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from tests.conftest import SAMPLES
from tests.data.helpers import ROUNDING, SPEECH
from training.arguments import MixtureArguments
from training.data.libri2mix import extend_noise, read_metadata, speaker_of, speakers_of_mixture
from training.data.mixtures import load_mixtures
from training.settings import SettingsError


def official_noise(path: Path, length: int) -> np.ndarray:
    """
    The noise of the official scripts: successive whole copies of it.

    Over the 8001 samples where two copies meet, the first falls as a squared cosine while the second rises as a squared sine.
    """
    once = soundfile.read(path, dtype="float32", stop=length)[0][:, 0].astype(np.float64)
    starts = [0]
    while starts[-1] + len(once) < length:
        starts.append(starts[-1] + len(once) - 8001)
    phase = np.pi / 2 * np.arange(8001) / 8000
    noise = np.zeros(starts[-1] + len(once))
    for start in starts:
        copy = once.copy()
        if start != starts[0]:
            copy[:8001] *= np.sin(phase) ** 2
        if start != starts[-1]:
            copy[-8001:] *= np.cos(phase) ** 2
        noise[start : start + len(once)] += copy
    return noise[:length]


def official_mixture(row: dict, noise_root: Path, sampling_rate: int, mode: str, mix_type: str):
    """The official scripts, file by file and without spans: gain, resampling, length, sum."""
    names = [row["source_1_path"], row["source_2_path"]]
    sources = [soundfile.read(SPEECH / name, dtype="float32")[0] for name in names]
    noise = official_noise(noise_root / row["noise_path"], max(map(len, sources)))
    gains = [row["source_1_gain"], row["source_2_gain"], row["noise_gain"]]
    tracks = [
        resample_poly(float(gain) * track, sampling_rate, 16000)
        for gain, track in zip(gains, [*sources, noise], strict=True)
    ]
    length = {"min": min, "max": max}[mode](map(len, tracks))
    tracks = [np.pad(track, (0, max(0, length - len(track))))[:length] for track in tracks]
    chosen = {"mix_clean": tracks[:2], "mix_both": tracks, "mix_single": [tracks[0], tracks[2]]}[mix_type]
    return sum(chosen), chosen[: 1 if mix_type == "mix_single" else 2]


@pytest.mark.parametrize("mix_type", ["mix_clean", "mix_both", "mix_single"])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("sampling_rate", [8000, 16000])
def test_metadata_and_tree_give_what_the_official_scripts_would(prepared, noise_folder, sampling_rate, mode, mix_type):
    noise_root = {} if mix_type == "mix_clean" else {"noise_root": str(noise_folder)}
    listed = MixtureArguments(
        metadata=str(prepared.metadata), root=str(SPEECH), mode=mode, mix_type=mix_type, **noise_root
    )
    num_sources = 1 if mix_type == "mix_single" else 2
    on_the_fly = load_mixtures(listed, sampling_rate, num_sources, show_progress=False)
    folder = prepared.folder(sampling_rate, mode)
    generated = load_mixtures(MixtureArguments(tree=str(folder), mix_type=mix_type), sampling_rate, num_sources)
    with open(prepared.metadata, newline="") as file:
        rows = {row["mixture_ID"]: row for row in csv.DictReader(file)}
    assert len(on_the_fly) == len(generated) == len(rows) == 3
    assert "short.wav" in {row["noise_path"] for row in rows.values()}
    stored = {generated[index].mixture_id: generated[index] for index in range(3)}
    for index in range(3):
        mixture = on_the_fly[index]
        expected, references = official_mixture(rows[mixture.mixture_id], noise_folder, sampling_rate, mode, mix_type)
        np.testing.assert_allclose(mixture.waveform, expected, atol=1e-6)
        np.testing.assert_allclose(mixture.references, np.stack(references), atol=1e-6)
        tree = stored[mixture.mixture_id]
        np.testing.assert_allclose(tree.waveform, expected, atol=ROUNDING)
        np.testing.assert_allclose(tree.references, np.stack(references), atol=ROUNDING)
        crop = on_the_fly.read(index, 3001, 2000)
        torch.testing.assert_close(crop.waveform, mixture.waveform[3001:5001], atol=1e-6, rtol=0)
    path = folder.parent / "metadata" / f"mixture_test_{mix_type}.csv"
    with open(path, newline="") as file:
        row = next(csv.DictReader(file))
    assert int(row["length"]) == soundfile.info(row["mixture_path"]).frames


def test_short_noise_is_repeated_without_a_gap(noise_folder):
    once = soundfile.read(noise_folder / "short.wav", dtype="float32")[0][:, 0]
    extended = extend_noise(str(noise_folder / "short.wav"), 50000, 16000)
    assert len(extended) == 50000
    np.testing.assert_allclose(extended[: 20000 - 8001], once[: 20000 - 8001], atol=1e-7)
    # behind the cross-fade the noise goes on from where the window has risen, up to the next one
    np.testing.assert_allclose(extended[20000:23900], once[8001:11901], atol=1e-7)
    levels = [extended[start : start + 2000].std() for start in range(0, 50000, 2000)]
    # two halves of a Hann window add up to one in amplitude, so unrelated noise dips by 3 dB in the middle
    assert min(levels) > 0.6 * max(levels)


def test_noise_that_cannot_be_repeated_is_named(tmp_path):
    soundfile.write(tmp_path / "n.wav", np.ones(8000) * 0.1, 16000)
    with pytest.raises(SettingsError, match="n.wav.*20000"):
        extend_noise(str(tmp_path / "n.wav"), 20000, 16000)


def test_speakers_are_known_by_librispeechs_names_or_by_their_folders():
    assert speaker_of("train-clean-100/19/198/19-198-0003.flac") == "19"
    assert speaker_of("anna/monday/0001.wav") == "anna"
    assert speakers_of_mixture("19-198-0003_26-495-0000") == ["19", "26"]
    assert speakers_of_mixture("anna-0001_berta-0002") == []


HEADER = b"mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, b"m,a,nan,b,1"], r"row 2: `source_1_gain` \('nan'\)"),
        ([HEADER, b"m,a,1,b,1", b"n,a,1,b,-inf"], r"row 3: `source_2_gain` \('-inf'\)"),
        ([HEADER, b"m,a,1,b,"], r"row 2: `source_2_gain` \(''\)"),
        ([HEADER, b"m,a,loud,b,1"], r"row 2: `source_1_gain` \('loud'\)"),
        ([HEADER + b",noise_path,noise_gain", b"m,a,1,b,1,n,x"], r"row 2: `noise_gain` \('x'\)"),
        ([HEADER + b",noise_path", b"m,a,1,b,1,n"], r"row 2: `noise_gain` \(''\)"),
        ([HEADER, b"m,,1,b,1"], "row 2: `source_1_path` is empty"),
        ([HEADER, b"m,a,1,b,1", b",,,,"], "row 3 is empty: remove it"),
        ([HEADER, b"", b"m,a,1,b,1", b",,"], "row 4 is empty: remove it"),
        ([HEADER, b"m,a,1,c\\b.wav,1"], r"row 2: `source_2_path` \('c\\\\b.wav'\) has backslashes: write /"),
        ([HEADER + b",source_2_gain", b"m,a,1,b,1,1"], "two columns 'source_2_gain'"),
        ([HEADER, b"m,a,1,b"], "row 2 has fewer or more cells"),
        ([HEADER, b"m,a,1,b,1,2"], "row 2 has fewer or more cells"),
        ([HEADER, b"m,a,1,b,1", b"m,b,1,a,1"], r"row 3: `mixture_ID` \('m'\) occurs twice"),
        ([HEADER, b"m,\xe4,1,b,1"], "UTF-8"),
        ([HEADER.removesuffix(b",source_2_gain"), b"m,a,1,b"], "lacks the columns source_2_gain"),
        ([HEADER], "no row"),
    ],
)
def test_odd_rows_of_metadata_are_named(tmp_path, lines, message):
    (tmp_path / "odd.csv").write_bytes(b"\n".join(lines))
    with pytest.raises(SettingsError, match=f"odd.csv.*{message}"):
        read_metadata(tmp_path / "odd.csv", tmp_path, 2, must_exist=False)


def test_metadata_that_excel_saved_is_read(tmp_path):
    plain = SAMPLES / "valid.csv"
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    found, expected = (read_metadata(path, SPEECH, 2) for path in (tmp_path / "excel.csv", plain))
    assert list(found.values()) == list(expected.values())
