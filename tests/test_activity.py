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
import numpy as np
import pytest
import torch

from audioslots_hf.activity import (
    FRAMES_PER_S,
    band_energies,
    find_activity,
    find_spans,
    find_threshold_db,
    frame_powers,
    is_narrow_band,
    moving_mean,
    smooth_activity,
)


def powers_of(levels_db: np.ndarray) -> np.ndarray:
    return 10 ** (levels_db / 10)


def speech(num_frames: int, level_db: float, seed: int = 0) -> np.ndarray:
    """Powers of frames that vary by 15 dB, as syllables do."""
    return powers_of(level_db - 15 * np.random.default_rng(seed).random(num_frames))


def test_a_frame_is_the_mean_power_of_20_ms_and_the_last_is_filled_with_zeros():
    waveforms = torch.tensor([[2.0] * 160 + [4.0] * 80])
    torch.testing.assert_close(frame_powers(waveforms, 8000), torch.tensor([[4.0, 8.0]]))
    assert frame_powers(torch.zeros(2, 3, 161), 8000).shape == (2, 3, 2)


def test_speech_through_a_telephone_has_a_narrow_band_at_any_level():
    noise = torch.randn(1, 32000, generator=torch.Generator().manual_seed(0))
    telephone = lowpass(noise)
    for level in (1.0, 1e-3):
        assert not is_narrow_band(band_energies(level * noise, 16000))
        assert is_narrow_band(band_energies(level * telephone, 16000))
    parts = np.stack([band_energies(telephone, 16000), band_energies(noise, 16000)])
    assert not is_narrow_band(parts)
    # at 8 kHz there is nothing above
    assert is_narrow_band(band_energies(noise, 8000))


def lowpass(waveforms: torch.Tensor) -> torch.Tensor:
    spectra = torch.fft.rfft(waveforms)
    frequencies = torch.fft.rfftfreq(waveforms.shape[-1], 1 / 16000)
    return torch.fft.irfft(spectra * (frequencies < 3400), waveforms.shape[-1])


@pytest.mark.parametrize("gain_db", [0.0, -30.0])
def test_the_threshold_lies_between_noise_and_speech(gain_db):
    powers = np.concatenate([powers_of(np.full(100, -70.0)), speech(200, -20.0)]) * 10 ** (gain_db / 10)
    assert -70 + gain_db < find_threshold_db(powers) < -35 + gain_db


def test_loud_noise_does_not_hide_speech():
    powers = np.concatenate([powers_of(np.full(100, -30.0)), speech(200, -20.0)])
    assert -40 < find_threshold_db(powers) <= -35


@pytest.mark.parametrize(
    "powers",
    [np.zeros(200), powers_of(np.full(200, -90.0)), powers_of(-20 + np.random.default_rng(0).normal(size=200))],
    ids=["silence", "hiss", "steady noise"],
)
def test_nobody_speaks_where_the_level_is_low_or_never_changes(powers):
    assert find_threshold_db(powers) == np.inf


def test_a_leak_of_another_voice_is_no_speech():
    first = np.concatenate([speech(200, -20.0), np.zeros(200)])
    second = np.concatenate([speech(200, -20.0) * 10 ** (-20 / 10), speech(200, -25.0, seed=1)])
    active = find_activity(np.stack([first, second]), threshold_db=-60.0)
    # levels are compared over 9 frames, and speech is padded by 2
    assert find_spans(active[0]) == [(0, 202)]
    [(start, stop)] = find_spans(active[1])
    assert 192 <= start <= 200 and stop == 400


def test_a_quieter_voice_is_heard_beside_a_louder_one():
    powers = np.stack([speech(200, -20.0), speech(200, -28.0, seed=1)])
    assert find_activity(powers, threshold_db=-60.0).mean(axis=1).min() > 0.95


def test_short_pauses_are_filled_and_clicks_left_out():
    active = np.zeros(4 * FRAMES_PER_S, bool)
    active[20:60] = active[68:100] = active[150:151] = True
    assert find_spans(smooth_activity(active)) == [(18, 102)]
    assert not smooth_activity(np.zeros(10, bool)).any()


def test_spans_are_the_runs_of_true_frames():
    assert find_spans(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert find_spans(np.zeros(3, bool)) == []


def test_a_moving_mean_has_fewer_values_at_the_ends():
    np.testing.assert_allclose(moving_mean(np.array([1.0, 2.0, 6.0]), 3), [1.5, 3.0, 4.0])
    np.testing.assert_allclose(moving_mean(np.array([1.0, 3.0, 5.0, 7.0]), 9), [2.0, 3.0, 5.0, 6.0])
