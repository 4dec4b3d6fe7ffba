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

import numpy as np
import pytest
import soundfile

from audioslots_hf.suffixes import FORMAT_SUFFIXES, SOUNDFILE_SUFFIXES
from tests.audio_helpers import noise
from tests.data.helpers import ROUNDING, SPEECH, files_of
from training.arguments import SpeechArguments
from training.data.audio import read_audio
from training.data.loudness import loudness_lufs
from training.data.mixer import SpeechMixer
from training.data.speech import load_speech
from training.settings import SettingsError


def test_files_can_stay_on_disk(tmp_path):
    loud = {
        "path": [path.relative_to(SPEECH).as_posix() for path in files_of(SPEECH)],
        "loudness": [loudness_lufs(read_audio(path, 16000), 16000) for path in files_of(SPEECH)],
    }
    with open(tmp_path / "list.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "loudness"])
        writer.writerows([path, path.split("/")[0], value] for path, value in zip(*loud.values(), strict=True))
    in_memory = load_speech(SpeechArguments(str(SPEECH)), 16000, show_progress=False)
    on_disk = load_speech(
        SpeechArguments(str(SPEECH), str(tmp_path / "list.csv"), in_memory=False), 16000, show_progress=False
    )
    for one, other in zip(sum(in_memory, []), sum(on_disk, []), strict=True):
        assert (one.path, one.num_samples, other.samples) == (other.path, other.num_samples, None)
        assert one.loudness == pytest.approx(other.loudness, abs=1e-6)
        np.testing.assert_allclose(one.read(1000, 500, 16000), other.read(1000, 500, 16000), atol=ROUNDING)


def test_a_csv_without_its_columns_and_silence_are_named(tmp_path):
    name = files_of(SPEECH)[0].relative_to(SPEECH).as_posix()
    windows = name.replace("/", "\\")
    for line, message in (
        (f"{name},anna,nan", r"row 3: `loudness` \('nan'\)"),
        (",,", "row 3 is empty: remove it"),
        (f"{name},,-20", "row 3: `speaker` is empty"),
        (",anna,-20", "row 3: `path` is empty"),
        (f"{windows},anna,-20", "row 3: `path` .* has backslashes: write / between folders"),
        ("librivox_austen,anna,-20", "row 3: `path` .* is no file below"),
        ("a\0b,anna,-20", "row 3: `path` .* is no file below"),
    ):
        (tmp_path / "list.csv").write_text(f"path,speaker,loudness\n{name},anna,-20\n{line}\n")
        with pytest.raises(SettingsError, match=f"list.csv, {message}"):
            load_speech(SpeechArguments(str(SPEECH), str(tmp_path / "list.csv")), 16000, show_progress=False)
    (tmp_path / "list.csv").write_text("path,voice\na.wav,anna\n")
    with pytest.raises(SettingsError, match="list.csv has no column `speaker`"):
        load_speech(SpeechArguments(str(SPEECH), str(tmp_path / "list.csv")), 16000, show_progress=False)
    (tmp_path / "anna").mkdir()
    soundfile.write(tmp_path / "anna" / "silent.wav", np.zeros(16000), 16000)
    with pytest.raises(SettingsError, match="silent.wav is silent"):
        load_speech(SpeechArguments(str(tmp_path)), 16000, show_progress=False)


@pytest.mark.parametrize("suffix", SOUNDFILE_SUFFIXES)
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_speaker_has_several_utterances_of_any_format(tmp_path, suffix, in_memory):
    for speaker in ("anna", "berta"):
        (tmp_path / speaker).mkdir()
        for number in range(3):
            path = tmp_path / speaker / f"{number}{suffix}"
            file_format = next(name for name, suffixes in FORMAT_SUFFIXES.items() if suffix in suffixes)
            # Ogg holds Vorbis by default
            subtype = "OPUS" if suffix == ".opus" else None
            soundfile.write(path, noise(16000 + 1000 * number), 16000, format=file_format, subtype=subtype)
    speech = load_speech(SpeechArguments(str(tmp_path), in_memory=in_memory), 16000, show_progress=False)
    assert [len(utterances) for utterances in speech] == [3, 3]
    mixer = SpeechMixer([speech], 2, 4000, 16000)
    mixtures = [mixer.draw_mixture(np.random.default_rng(seed)) for seed in range(30)]
    assert len({voice.utterance.path for mixture in mixtures for voice in mixture.voices}) == 6
    assert (mixer.render(mixtures, mixer.read).std(dim=-1) > 0).all()
