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

from tests.audio_helpers import noise
from tests.data.helpers import ROUNDING, SPEECH, write_voices
from training.arguments import MixtureArguments
from training.data.audio import read_audio
from training.data.libri2mix import speaker_of
from training.data.loudness import loudness_lufs
from training.data.mixtures import load_mixtures
from training.data.prepare import Prepared, Voice, draw_gains, prepare, write_mixture
from training.settings import SettingsError


def test_a_prepared_set_is_the_same_again_and_keeps_to_the_recipe(prepared, noise_folder, tmp_path):
    again = Prepared(tmp_path, "test", 2, [16000], ["min"], ["mix_clean"])
    prepare(SPEECH, again, 3, noise_folder)
    assert again.metadata.read_text() == prepared.metadata.read_text()
    another = Prepared(tmp_path / "other", "test", 2, [16000], ["max"], ["mix_clean"])
    prepare(SPEECH, another, 6, noise_folder, seed=1)
    assert another.metadata.read_text() != prepared.metadata.read_text()
    with open(another.metadata, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({frozenset((row["source_1_path"], row["source_2_path"])) for row in rows}) == 6
    for row in rows:
        speakers = {speaker_of(row[f"source_{number}_path"]) for number in (1, 2)}
        assert len(speakers) == 2
        for number in (1, 2):
            audio = read_audio(SPEECH / row[f"source_{number}_path"], 16000)
            gain = float(row[f"source_{number}_gain"])
            # gating leaves out the silence that the shorter voice is filled with, up to a block at its edge
            assert -33.3 < loudness_lufs(gain * audio, 16000) < -24.7
    files = (another.folder(16000, "max") / "mix_clean").iterdir()
    assert all(np.abs(soundfile.read(path)[0]).max() <= 0.9 + ROUNDING for path in files)


def test_a_mixture_that_would_clip_is_turned_down():
    impulses = np.zeros(32000)
    # loud for their loudness: their gain alone would take them above full scale
    impulses[::4000] = 1.0
    voices = [Voice(Path(name), impulses + 1e-3, -25.0) for name in ("a", "b")]
    gains = draw_gains(voices)
    assert gains[0] == gains[1]
    assert np.abs(2 * gains[0] * (impulses + 1e-3)).max() == pytest.approx(0.9)


def test_silence_is_named_before_a_set_is_written(tmp_path):
    speech = write_voices(tmp_path / "speech", 16000)
    soundfile.write(speech / "voice1" / "a.wav", np.zeros(64000), 16000)
    prepared = Prepared(tmp_path / "out", "test", 2, [16000], ["min"], ["mix_clean"])
    with pytest.raises(SettingsError, match=r"voice1.a\.wav is silent: leave it out"):
        prepare(speech, prepared, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sampling_rate", [8000, 11025])
def test_speech_of_another_rate_has_noise_to_its_end(tmp_path, noise_folder, sampling_rate):
    speech = write_voices(tmp_path / "speech", sampling_rate)
    prepared = Prepared(tmp_path / "out", "test", 2, [16000], ["max"], ["mix_both"])
    [folder] = prepare(speech, prepared, 1, noise_folder)
    listed = MixtureArguments(
        metadata=str(prepared.metadata),
        root=str(speech),
        noise_root=str(noise_folder),
        mode="max",
        mix_type="mix_both",
    )
    on_the_fly = load_mixtures(listed, 16000, 2, show_progress=False)[0]
    tree = load_mixtures(MixtureArguments(tree=str(folder), mix_type="mix_both"), 16000, 2, show_progress=False)[0]
    assert (
        on_the_fly.waveform.shape == tree.waveform.shape == (-(-16000 * (3 * sampling_rate + 500) // sampling_rate),)
    )
    assert on_the_fly.rest[-2000:].std() > 0
    torch.testing.assert_close(tree.waveform, on_the_fly.waveform, atol=ROUNDING, rtol=0)


def test_a_set_that_fails_leaves_nothing_and_can_be_prepared_again(tmp_path, monkeypatch):
    prepared = Prepared(tmp_path, "test", 2, [8000, 16000], ["min"], ["mix_clean"])

    def fail(mixtures, index, *arguments):
        if mixtures.sampling_rate == 16000 and index == 1:
            raise OSError("No space left on device")
        return write_mixture(mixtures, index, *arguments)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("training.data.prepare.write_mixture", fail)
        prepare(SPEECH, prepared, 2)
    assert not list(tmp_path.iterdir())
    prepare(SPEECH, prepared, 2)
    assert prepared.metadata.is_file() and not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mix_types": ["mix_both"]}, "mix_both needs noise"),
        ({"num_mixtures": 10}, "allows 6 different mixtures of 2, not 10"),
        ({"num_sources": 3}, "2 speakers.*mixtures of 3"),
    ],
)
def test_sets_that_cannot_be_prepared_are_named_and_leave_nothing(tmp_path, overrides, message):
    values = {"mix_types": ["mix_clean"], "num_mixtures": 2, "num_sources": 2} | overrides
    prepared = Prepared(tmp_path, "test", values["num_sources"], [16000], ["min"], values["mix_types"])
    with pytest.raises(SettingsError, match=message):
        prepare(SPEECH, prepared, values["num_mixtures"])
    assert not list(tmp_path.iterdir())


def test_files_that_differ_in_how_they_end_are_in_no_two_mixtures_of_one_name(tmp_path):
    for name in ("anna/x.wav", "anna/x.flac", "anna/y.wav", "berta/z.wav"):
        (tmp_path / "speech" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "speech" / name, noise(48000), 16000)
    for seed in range(3):
        prepared = Prepared(tmp_path / str(seed), "test", 2, [16000], ["min"], ["mix_clean"])
        prepare(tmp_path / "speech", prepared, 2, seed=seed)
        assert len(prepared.metadata.read_text().splitlines()) == 3


def test_a_set_that_exists_is_not_overwritten(prepared, noise_folder):
    before = prepared.metadata.read_text()
    with pytest.raises(SettingsError, match="exists"):
        prepare(SPEECH, prepared, 2, noise_folder, seed=5)
    assert prepared.metadata.read_text() == before


@pytest.mark.parametrize("num_sources", [3, 5])
def test_more_voices_go_the_same_way(tmp_path, num_sources):
    write_voices(tmp_path / "speech", 16000, 5)
    prepared = Prepared(tmp_path / "out", "test", num_sources, [8000], ["max"], ["mix_clean"])
    [folder] = prepare(tmp_path / "speech", prepared, 1)
    assert folder == tmp_path / "out" / f"Libri{num_sources}Mix" / "wav8k" / "max" / "test"
    listed = MixtureArguments(metadata=str(prepared.metadata), root=str(tmp_path / "speech"), mode="max")
    for arguments in (listed, MixtureArguments(tree=str(folder))):
        mixture = load_mixtures(arguments, 8000, num_sources, show_progress=False)[0]
        assert mixture.references.shape[0] == num_sources
        torch.testing.assert_close(mixture.waveform, mixture.references.sum(dim=0), atol=5 * ROUNDING, rtol=0)
