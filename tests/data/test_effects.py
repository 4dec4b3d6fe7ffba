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
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.signal import butter, freqs, lfilter, resample_poly

from tests.audio_helpers import noise
from tests.data.helpers import band_levels
from training.data.augmentations import LOWEST_CUTOFF_HZ
from training.data.effects import (
    NUM_BANDS,
    PAUSE_DB,
    change_speed,
    compress_dynamic_range,
    high_pass,
    match_spectra,
    mel_bands,
    shift_formants,
    tilt,
)
from training.data.reverberation import DIRECT_DB, draw_response


@pytest.mark.parametrize("speed", [Fraction(1, 2), Fraction(4, 5), Fraction(19, 20), Fraction(23, 20), Fraction(2)])
def test_a_voice_at_another_speed_equals_the_resampling_of_scipy(speed):
    voices = noise(3, 4001)
    expected = resample_poly(voices, speed.denominator, speed.numerator, axis=-1)
    for num_samples in (expected.shape[1], 1000, expected.shape[1] + 500):
        resampled = change_speed(torch.from_numpy(voices), speed, num_samples).numpy()
        assert resampled.shape == (3, num_samples)
        kept = min(num_samples, expected.shape[1])
        np.testing.assert_allclose(resampled[:, :kept], expected[:, :kept], atol=1e-6)


@pytest.mark.parametrize("tilt_db", [-3.0, 0.0, 3.0])
def test_tilt_raises_high_over_low_frequencies_by_its_amount(tilt_db):
    impulse = torch.zeros(1024, dtype=torch.float64)
    impulse[0] = 1.0
    response = 20 * np.log10(np.abs(np.fft.rfft(tilt(impulse, tilt_db))))
    assert response[-1] - response[0] == pytest.approx(tilt_db, abs=1e-3)


def test_the_high_pass_is_butterworths():
    impulse = torch.zeros(16000, dtype=torch.float64)
    impulse[8000] = 1.0
    frequencies = np.fft.rfftfreq(16000, 1 / 16000)[20:]
    expected = np.abs(freqs(*butter(4, 300.0, "highpass", analog=True), worN=frequencies)[1])
    filtered = high_pass(impulse, 300.0, 16000)
    np.testing.assert_allclose(np.abs(np.fft.rfft(filtered))[20:], expected, atol=1e-4)
    # symmetric: without delay
    torch.testing.assert_close(filtered[8001:15000], filtered[1001:8000].flip(0))


def test_each_voice_has_its_own_high_pass_and_nothing_comes_in_at_the_other_end():
    voices = torch.from_numpy(noise(3, 4000))
    voices[2] = 0.0
    voices[2, -1] = 1.0
    filtered = high_pass(voices, torch.tensor([0.0, 200.0, 50.0]), 16000)
    torch.testing.assert_close(filtered[0], voices[0])
    torch.testing.assert_close(filtered[1], high_pass(voices[1], 200.0, 16000))
    assert filtered[2, -300:].abs().max() > 0.5 and filtered[2, :300].abs().max() < 1e-3
    assert high_pass(torch.ones(16000), 50.0, 16000)[4000:12000].abs().max() < 1e-3
    # the lowest cutoff leaves nothing of 0 Hz either
    assert high_pass(torch.ones(32000), LOWEST_CUTOFF_HZ, 16000)[8000:24000].abs().max() < 1e-3


def levels_db(waveforms: torch.Tensor) -> torch.Tensor:
    """Of the quarters of each, without their edges, in dB."""
    quarters = waveforms.unflatten(-1, (4, -1))[..., 500:-500]
    return 10 * quarters.square().mean(dim=-1).log10()


def test_compression_divides_differences_of_level():
    # evenly loud, so that the envelope is the level
    tone = torch.sin(2 * math.pi * 500 * torch.arange(16000) / 16000)
    waveform = (tone.unflatten(0, (4, -1)) * torch.tensor([1.0, 0.5, 1.0, 0.25])[:, None]).flatten()
    waveforms = torch.stack([waveform, waveform, 1e-3 * waveform])
    compressed = compress_dynamic_range(waveforms, torch.tensor([0.0, 0.5, 0.5]), 16000)
    torch.testing.assert_close(compressed[0], waveform)
    torch.testing.assert_close(levels_db(compressed[1]).diff(), 0.5 * levels_db(waveform).diff(), atol=0.05, rtol=0)
    torch.testing.assert_close(compressed[2], 1e-3 * compressed[1])
    torch.testing.assert_close(compressed.square().mean(dim=-1), waveforms.square().mean(dim=-1))


def test_compression_raises_no_pause_to_speech_and_silence_stays_silence():
    voice = torch.from_numpy(noise(1, 16000)[0])
    voice[4000:8000] *= 1e-3
    voice[8000:12000] = 0.0
    compressed = compress_dynamic_range(voice[None], 0.9, 16000)[0]
    assert (compressed[8000:12000] == 0).all()
    raised = levels_db(compressed).diff()[0] - levels_db(voice).diff()[0]
    # half of the recording sounds: its power is 3 dB below that of the speech
    assert raised.item() == pytest.approx(0.9 * (PAUSE_DB + 3), abs=0.5)
    assert torch.equal(compress_dynamic_range(torch.zeros(1, 16000), 0.5, 16000), torch.zeros(1, 16000))


def test_mel_bands_add_up_to_one():
    bands = mel_bands(4001, 16000, torch.float64, torch.device("cpu"))
    assert bands.shape == (NUM_BANDS, 4001)
    torch.testing.assert_close(bands.sum(dim=0), torch.ones(4001, dtype=bands.dtype))
    # evenly spaced on a scale that is finer among the lows
    peaks = bands.argmax(dim=1)
    assert peaks[0] == 0 and peaks[-1] == 4000 and (peaks.diff().diff() > 0).all()


def test_matched_voices_have_one_spectrum_and_keep_their_power():
    generator = torch.Generator().manual_seed(0)
    voices = torch.randn(2, 3, 16000, generator=generator)
    dark, bright = (
        torch.from_numpy(lfilter([1.0, zero], [1.0], voices[:, row])) for row, zero in ((0, 0.7), (1, -0.7))
    )
    voices = torch.stack([dark, 0.1 * bright, voices[:, 2]], dim=1).float()
    matched = match_spectra(voices, 16000)
    torch.testing.assert_close(matched.square().sum(dim=-1), voices.square().sum(dim=-1))
    before, after = (band_levels(signal) for signal in (voices, matched))
    assert (before.amax(dim=1) - before.amin(dim=1)).max() > 8
    assert (after.amax(dim=1) - after.amin(dim=1)).max() < 1.5
    # they meet in the middle
    torch.testing.assert_close(after.mean(dim=1), before.mean(dim=1), atol=0.5, rtol=0)


def test_voices_of_one_spectrum_stay_as_they_are_and_silence_stays_silence():
    voices = torch.from_numpy(noise(1, 16000)).expand(2, -1)
    torch.testing.assert_close(match_spectra(voices, 16000), voices)
    dark = torch.from_numpy(lfilter([1.0, 0.95], [1.0], voices[0])).float()
    voices = torch.stack([dark, torch.zeros(16000)])
    torch.testing.assert_close(match_spectra(voices, 16000), voices)


def pulses(num_samples: int, pitch_hz: float = 100.0) -> torch.Tensor:
    """A voice with one formant at 1.5 kHz: pulses through a resonance"""
    source = np.zeros(num_samples)
    source[:: round(16000 / pitch_hz)] = 1.0
    pole = 0.97 * np.exp(2j * np.pi * 1500 / 16000)
    return torch.from_numpy(lfilter([1.0], np.poly([pole, pole.conj()]).real, source)).float()


@pytest.mark.parametrize("factor", [0.86, 1.0, 1.16])
def test_a_formant_moves_by_its_factor_and_the_pitch_stays(factor):
    voice = pulses(16000)
    moved = shift_formants(voice, factor, 16000)
    assert moved.shape == voice.shape
    # a bin per hertz
    spectra = torch.fft.rfft(torch.stack([voice, moved])).abs()
    # the strongest harmonic, of which there is one every 100 Hz
    peaks_hz = spectra.argmax(dim=1)
    assert abs(peaks_hz[0] - 1500) <= 50 and abs(peaks_hz[1] - 1500 * factor) <= 100
    is_harmonic = torch.zeros(8001, dtype=torch.bool)
    is_harmonic[::100] = True
    shares = spectra.square()[:, is_harmonic].sum(dim=1) / spectra.square().sum(dim=1)
    assert shares[1] > 0.9 * shares[0]


def test_a_factor_of_1_changes_nothing_and_each_voice_has_its_own_factor():
    voices = torch.stack([pulses(4001), pulses(4001, 160.0)]).expand(3, 2, 4001)
    torch.testing.assert_close(shift_formants(voices, 1.0, 16000), voices, rtol=0, atol=1e-5)
    factors = torch.tensor([0.9, 1.1])
    moved = shift_formants(voices, factors.expand(3, 2), 16000)
    assert moved.shape == voices.shape
    for index in range(2):
        torch.testing.assert_close(moved[1, index], shift_formants(voices[0, index], factors[index], 16000))
    silence = torch.zeros(2, 1000)
    assert torch.equal(shift_formants(silence, 1.1, 16000), silence)


@pytest.mark.parametrize("rt60_s", [0.2, 0.6])
def test_the_noise_of_a_room_decays_by_sixty_decibels_in_its_reverberation_time(rt60_s):
    tails = [draw_response(np.random.default_rng(seed), rt60_s, 16000) for seed in range(20)]
    powers = np.mean([np.square(tail[1:]) for tail in tails], axis=0)
    thirds = np.array_split(powers[400:], 3)
    # a third of the time is a third of the decay
    decays_db = [10 * np.log10(thirds[k].mean() / thirds[k + 1].mean()) for k in range(2)]
    assert np.mean(decays_db) == pytest.approx(20 * (len(powers) - 400) / len(powers), rel=0.1)
    direct_db = [-10 * np.log10(np.square(tail[1:]).sum()) for tail in tails]
    assert DIRECT_DB[0] <= min(direct_db) < max(direct_db) <= DIRECT_DB[1] and all(tail[0] == 1 for tail in tails)
