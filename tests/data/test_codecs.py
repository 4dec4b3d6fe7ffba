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
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
import soundfile
import torch

from audioslots_hf.metrics import si_snr
from tests.data.helpers import DEBUG, SPEECH, files_of
from tests.training_helpers import debug_arguments, read_log
from training.arguments import load_arguments
from training.data.augmentations import Codec
from training.data.codecs import FORMATS, CodecName, Format, check_codec, transmit
from training.data.effects import change_speed, low_pass
from training.loop import train
from training.settings import SettingsError


CODECS = get_args(CodecName)


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    """Two seconds of a voice at 16 kHz, of a length that is no whole number of blocks."""
    samples, _ = soundfile.read(files_of(SPEECH)[0], start=8000, frames=32077, dtype="float32")
    return torch.from_numpy(samples)


def find_lag(decoded: torch.Tensor, waveform: torch.Tensor) -> float:
    """The delay with the highest correlation, in steps of an eighth of a sample."""
    size = 2 * len(waveform)
    spectrum = torch.fft.rfft(decoded, size) * torch.fft.rfft(waveform, size).conj()
    correlation = torch.fft.irfft(spectrum, 8 * size)
    lag = int(correlation.argmax())
    return (lag if lag < 4 * size else lag - 8 * size) / 8


@pytest.mark.parametrize("num_samples", [4001, 32077])
@pytest.mark.parametrize("codec", CODECS)
def test_a_decoded_voice_has_the_place_and_the_length_of_the_voice(speech, codec, num_samples):
    voice = speech[:num_samples]
    decoded = transmit(voice, codec, 16000)
    assert decoded.shape == voice.shape and decoded.dtype == voice.dtype
    assert abs(find_lag(decoded, voice)) <= 1 / 8
    # something is lost, but less than half of the voice; measured 1 dB for a GSM of a quarter of a second, 31 dB for mu-law
    band = low_pass(voice, FORMATS[codec].sampling_rate / 2, 16000)
    assert 0 < si_snr(decoded, band) < 40


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("sampling_rate", [8000, 44100])
def test_a_voice_of_another_sampling_rate_is_coded_at_the_rate_of_the_codec(speech, codec, sampling_rate):
    speed = Fraction(16000, sampling_rate)
    num_samples = len(speech) * sampling_rate // 16000
    voice = change_speed(low_pass(speech, 3500.0, 16000), speed, num_samples)
    decoded = transmit(voice, codec, sampling_rate)
    # 8 microseconds of GSM are a third of a sample at 44.1 kHz
    assert len(decoded) == num_samples and abs(find_lag(decoded, voice)) <= sampling_rate / 16000 / 8
    assert si_snr(decoded, voice) > 4


@pytest.mark.parametrize("codec", CODECS)
def test_the_level_of_a_voice_changes_nothing_but_the_level(speech, codec):
    voice = speech[:8000]
    decoded = transmit(voice, codec, 16000)
    # powers of two are exact
    for factor in (2.0**-30, 2.0**4):
        assert torch.equal(transmit(factor * voice, codec, 16000), factor * decoded)
    powers = [waveform.square().mean() for waveform in (decoded, low_pass(voice, 4000.0, 16000))]
    # the level stays; codecs of few bits lose some of the power
    assert 0.6 < powers[0] / powers[1] < 1.2


@pytest.mark.parametrize("codec", CODECS)
def test_a_silent_voice_stays_silent_and_the_weakest_one_finite(codec):
    assert not transmit(torch.zeros(4000), codec, 16000).any()
    weakest = torch.full((4000,), torch.finfo(torch.float32).tiny)
    assert transmit(weakest, codec, 16000).isfinite().all()


def test_a_share_of_the_voices_passes_through_codecs_of_the_list():
    codec = Codec(codecs=["mu_law", "gsm", "opus"], share=0.6)
    rng = np.random.default_rng(0)
    positions = np.array([codec.draw(rng, 2) for _ in range(400)])
    # three standard deviations of 800 draws, and of the 480 that are coded
    assert abs((positions > 0).mean() - 0.6) < 0.052
    assert all(abs((positions == position).sum() / 480 - 1 / 3) < 0.065 for position in (1, 2, 3))
    assert (positions[:, 0] != positions[:, 1]).any() and set(positions.flatten()) == {0.0, 1.0, 2.0, 3.0}


def test_each_voice_of_a_batch_has_its_codec_alone(speech):
    codec = Codec(codecs=["mu_law", "mp3"], share=0.5)
    voices = speech[:32000].reshape(2, 2, 8000)
    before = voices.clone()
    positions = np.array([[0.0, 1.0], [2.0, 0.0]])
    coded = codec.apply(voices, positions, 16000)
    assert torch.equal(voices, before) and torch.equal(coded, codec.apply(voices, positions, 16000))
    assert torch.equal(coded[0, 0], voices[0, 0]) and torch.equal(coded[1, 1], voices[1, 1])
    assert torch.equal(coded[0, 1], transmit(voices[0, 1], "mu_law", 16000))
    assert torch.equal(coded[1, 0], transmit(voices[1, 0], "mp3", 16000))


def test_a_drawn_mixture_is_the_same_every_time(build_mixer):
    mixer = build_mixer(Codec(codecs=list(CODECS), share=1.0))
    first, second = (mixer.draw(np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, build_mixer().draw(np.random.default_rng(3)))


def test_a_codec_that_libsndfile_lacks_is_named_before_the_training(monkeypatch):
    monkeypatch.setitem(FORMATS, "opus", Format(16000, "FLAC", "GSM610"))
    Codec(codecs=["gsm"], share=0.5).check(16000)
    message = (
        r"does not support the codec 'opus' \(.+\): take another one \(mu_law, gsm, mp3, vorbis\), or update it by"
    )
    with pytest.raises(SettingsError, match=message):
        Codec(codecs=["gsm", "opus"], share=0.5).check(16000)


def test_a_codec_that_would_delay_voices_is_refused(monkeypatch):
    # frames of 24 kbit/s have no room for the tag with the delay
    options = {"compression_level": 0.9, "bitrate_mode": "CONSTANT"}
    monkeypatch.setitem(FORMATS, "mp3", Format(16000, "MP3", "MPEG_LAYER_III", options))
    with pytest.raises(SettingsError, match=r"the codec 'mp3' \(it decodes \d+ samples of \d+\)"):
        check_codec("mp3", 16000)


def test_what_is_no_codec_is_refused_by_the_yaml_with_the_names_of_all():
    def load(codec: str):
        return load_arguments(DEBUG, [f"augmentations=[{{type: codec, share: 0.5, codecs: {codec}}}]"])

    assert load("[gsm, opus]").augmentations == [Codec(codecs=["gsm", "opus"], share=0.5)]
    with pytest.raises(
        SettingsError, match=r"codecs\.1` \('amr'\) must be 'mu_law', 'gsm', 'mp3', 'opus' or 'vorbis'"
    ):
        load("[gsm, amr]")
    with pytest.raises(SettingsError, match=r"codecs.*at least 1 item"):
        load("[]")


def test_a_run_trains_on_coded_voices(tmp_path):
    listed = f"augmentations=[{{type: codec, share: 1.0, codecs: [{', '.join(CODECS)}]}}]"
    losses = []
    for folder, *overrides in (["plain", "augmentations=[]"], ["coded", listed]):
        arguments = debug_arguments(tmp_path / folder, "max_steps=2", "log_steps=1", *overrides)
        arguments.valid = None
        train(arguments)
        losses.append(list(read_log(tmp_path / folder).values()))
    assert np.isfinite(losses).all() and losses[0] != losses[1]
