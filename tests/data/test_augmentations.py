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
import re

import numpy as np
import pytest
import torch

from tests.audio_helpers import noise
from tests.data.helpers import band_levels
from training.data.augmentations import (
    DynamicRangeCompression,
    FormantShift,
    HighPass,
    LowPass,
    Polarity,
    Reverberation,
    SharedSpectrum,
    SpectralTilt,
    Turns,
)
from training.data.effects import compress_dynamic_range, match_spectra, shift_formants, tilt
from training.settings import SettingsError, build


TILT = SpectralTilt(max_db=3.0)
COMPRESSION = DynamicRangeCompression(max_exponent=0.8)
HIGH_PASS = HighPass(cutoff_hz=[50.0, 400.0])


def parameters_of(augmentation, num_mixtures: int = 300) -> np.ndarray:
    """Draws for the two voices of some mixtures, (num_mixtures, 2)"""
    rng = np.random.default_rng(0)
    return np.array([augmentation.draw(rng, 2) for _ in range(num_mixtures)])


def test_each_voice_is_inverted_with_probability_one_half(build_mixer):
    signs = parameters_of(Polarity(), 400)
    assert set(signs.flatten()) == {-1.0, 1.0}
    # three standard deviations of 400 draws, and the voices of a mixture are independent
    assert abs(signs.mean(axis=0)).max() < 0.15 and abs(signs.prod(axis=1).mean()) < 0.15
    plain, inverted = build_mixer(), build_mixer(Polarity())
    for seed in range(4):
        mixture = inverted.draw_mixture(np.random.default_rng(seed))
        before = plain.draw(np.random.default_rng(seed))
        after = inverted.render([mixture], inverted.read)[0]
        torch.testing.assert_close(after, torch.tensor(mixture.parameters[0])[:, None] * before)


def test_each_voice_has_its_own_tilt():
    tilts_db = parameters_of(TILT)
    assert -3 <= tilts_db.min() < -2.9 and 2.9 < tilts_db.max() <= 3 and (tilts_db[:, 0] != tilts_db[:, 1]).all()
    voices = torch.from_numpy(noise(1, 2, 4000))
    tilted = TILT.apply(voices, tilts_db[:1], 16000)
    torch.testing.assert_close(tilted[0, 1], tilt(voices[0, 1], tilts_db[0, 1]))


def test_one_high_pass_for_all_voices_of_a_mixture():
    cutoffs_hz = parameters_of(HIGH_PASS, 3000)
    assert (cutoffs_hz[:, 0] == cutoffs_hz[:, 1]).all()
    assert 50 <= cutoffs_hz.min() < 60 and 340 < cutoffs_hz.max() <= 400
    # as often below as above the middle of the logarithm
    assert np.median(cutoffs_hz) == pytest.approx(math.sqrt(50 * 400), rel=0.1)


def test_a_high_pass_takes_the_lows_of_a_voice_and_nothing_else(build_mixer):
    frequencies = np.fft.rfftfreq(4000, 1 / 16000)
    mixers = [build_mixer(), build_mixer(HighPass(cutoff_hz=[400.0, 400.0]))]
    before, after = (np.abs(np.fft.rfft(mixer.draw(np.random.default_rng(0)))) ** 2 for mixer in mixers)
    lows, highs = frequencies < 200, frequencies > 1000
    assert after[0, lows].sum() < 0.01 * before[0, lows].sum()
    assert after[0, highs].sum() == pytest.approx(before[0, highs].sum(), rel=0.01)


def test_a_share_of_the_mixtures_has_no_high_frequencies():
    telephone = LowPass(cutoff_hz=[3400.0, 4000.0], share=0.3)
    cutoffs_hz = parameters_of(telephone, 400)
    is_cut = np.isfinite(cutoffs_hz)
    assert (cutoffs_hz[:, 0] == cutoffs_hz[:, 1]).all()
    # three standard deviations of 400 draws
    assert (
        abs(is_cut[:, 0].mean() - 0.3) < 0.07
        and 3400 <= cutoffs_hz.min() < 3450 < 3950 < cutoffs_hz[is_cut].max() <= 4000
    )
    voices = torch.from_numpy(noise(2, 2, 16000))
    cut = telephone.apply(voices, np.array([[3500.0, 3500.0], [math.inf, math.inf]]), 16000)
    torch.testing.assert_close(cut[1], voices[1])
    powers = torch.fft.rfft(cut[0]).abs().square()
    assert powers[:, 3700:].sum() < 1e-4 * powers.sum()
    passed = torch.fft.rfft(voices[0]).abs().square()[:, 100:3200].sum()
    torch.testing.assert_close(powers[:, 100:3200].sum(), passed, rtol=1e-3, atol=0)


def test_a_low_pass_that_removes_nothing_or_all_is_refused():
    telephone = LowPass(cutoff_hz=[3400.0, 4000.0], share=0.3)
    # the lower cutoffs remove something
    telephone.check(8000)
    with pytest.raises(SettingsError, match=r"`cutoff_hz` \(\[3400.0, 4000.0\]\) must begin below 3000 Hz"):
        telephone.check(6000)
    with pytest.raises(SettingsError, match=r"`cutoff_hz.0` \(10.0\) must be at least 200"):
        build(LowPass, {"cutoff_hz": [10.0, 4000.0], "share": 0.3})


def test_a_share_of_the_mixtures_is_in_a_room_and_each_voice_has_its_place():
    rooms = Reverberation(rt60_s=[0.2, 0.4], share=0.5)
    seeds = parameters_of(rooms, 400)
    # three standard deviations of 400 draws
    assert (seeds[:, 0] == seeds[:, 1]).all() and abs((seeds[:, 0] > 0).mean() - 0.5) < 0.075
    clicks = torch.zeros(3, 2, 8000)
    clicks[:, :, 100] = 1
    wet = rooms.apply(clicks, np.array([[0.0, 0.0], [7.0, 7.0], [7.0, 7.0]]), 8000)
    assert torch.equal(wet[0], clicks[0]) and torch.equal(wet[1], wet[2]) and not torch.equal(wet[1, 0], wet[1, 1])
    torch.testing.assert_close(wet.square().sum(dim=-1), clicks.square().sum(dim=-1))
    # nothing before the click but rounding, and nothing later than the reverberation time, which both voices share
    is_audible = wet[1].abs() > 1e-6
    ends = [int(is_audible[voice].nonzero().max()) - 100 for voice in range(2)]
    assert not is_audible[:, :100].any() and 0.2 * 8000 - 2 <= ends[0] <= 0.4 * 8000 and abs(ends[0] - ends[1]) <= 2
    silence = rooms.apply(torch.zeros(1, 2, 8000), np.array([[7.0, 7.0]]), 8000)
    assert not silence.any()


@pytest.mark.parametrize(
    ("augmentation", "name", "bounds"),
    [
        (HighPass, "cutoff_hz", [400.0, 50.0]),
        (LowPass, "cutoff_hz", [4000.0, 3400.0]),
        (Reverberation, "rt60_s", [0.4, 0.2]),
        (FormantShift, "factors", [1.2, 0.9]),
    ],
)
def test_a_range_begins_with_its_lowest_bound(augmentation, name, bounds):
    share = {} if augmentation is HighPass else {"share": 0.5}
    with pytest.raises(SettingsError, match=rf"`{name}`: {re.escape(str(bounds))} must be \[lowest, highest\]"):
        build(augmentation, {name: bounds} | share)


def test_each_voice_has_its_own_compression(build_mixer):
    exponents = parameters_of(DynamicRangeCompression(max_exponent=0.6))
    assert exponents.min() >= 0 and 0.55 < exponents.max() <= 0.6
    assert exponents.mean() == pytest.approx(0.3, abs=0.03) and (exponents[:, 0] != exponents[:, 1]).all()
    voices = torch.stack([build_mixer().draw(np.random.default_rng(seed)) for seed in range(3)])
    compressed = COMPRESSION.apply(voices, np.array([[0.0, 0.6]] * 3), 16000)
    torch.testing.assert_close(compressed[:, 0], voices[:, 0])
    torch.testing.assert_close(compressed[:, 1], compress_dynamic_range(voices[:, 1], 0.6, 16000))
    torch.testing.assert_close(compressed.square().sum(dim=-1), voices.square().sum(dim=-1), rtol=1e-4, atol=0)
    assert (compressed[:, 1] - voices[:, 1]).abs().max() > 0.05 * voices[:, 1].abs().max()


def test_a_share_of_the_mixtures_has_one_spectrum(build_mixer):
    apart, together = (
        mixer.draw(np.random.default_rng(3)) for mixer in (build_mixer(), build_mixer(SharedSpectrum(share=1.0)))
    )
    spreads = [band_levels(voices).diff(dim=0).std() for voices in (apart, together)]
    assert spreads[1] < 0.5 * spreads[0]
    shared = parameters_of(SharedSpectrum(share=0.25), 400)
    assert (shared[:, 0] == shared[:, 1]).all() and set(shared.flatten()) == {0.0, 1.0}
    assert shared[:, 0].mean() == pytest.approx(0.25, abs=0.07)
    batch = SharedSpectrum(share=0.25).apply(torch.stack([apart, apart]), np.array([[0.0, 0.0], [1.0, 1.0]]), 16000)
    assert torch.equal(batch[0], apart)
    assert torch.equal(batch[1], match_spectra(apart, 16000))


def test_a_share_of_the_mixtures_has_turns_and_a_share_of_these_one_voice():
    turns = Turns(share=0.5, lone_share=0.4, silent_share=0.0)
    parameters = parameters_of(turns, 400)
    assert (parameters[:, 0] == parameters[:, 1]).all()
    # three standard deviations of 400 draws, and of the 200 with turns
    assert abs((parameters[:, 0] != 0).mean() - 0.5) < 0.075 and abs((parameters[:, 0] < 0).sum() / 200 - 0.4) < 0.12
    voices = torch.ones(400, 2, 16000)
    gated = turns.apply(voices, parameters, 8000)
    sounding = (gated > 0.5).any(dim=-1).sum(dim=1)
    full, lone = parameters[:, 0] == 0, parameters[:, 0] < 0
    assert torch.equal(gated[full], voices[full])
    assert (sounding[lone] == 1).all() and (sounding >= 1).all()
    # between the ramps a voice sounds as it is, or not at all
    steps = gated[:, :, 40::80]
    assert ((steps == 0) | (steps == 1)).float().mean() > 0.98
    assert 0.2 < gated[(parameters[:, 0] > 0)].mean() < 0.8


def test_nobody_sounds_in_a_share_of_the_mixtures_with_turns():
    turns = Turns(share=0.5, silent_share=0.2)
    parameters = parameters_of(turns, 400)
    is_silent = np.isinf(parameters).all(axis=1)
    # three standard deviations of 200 draws
    assert abs(is_silent.sum() / 200 - 0.2) < 0.09
    sounding = turns.apply(torch.ones(400, 2, 16000), parameters, 8000).flatten(1).any(dim=1).numpy()
    assert (sounding == ~is_silent).all()
    with pytest.raises(
        SettingsError, match=r"`lone_share` \(0.8\) and `silent_share` \(0.3\) must have a sum of at most 1"
    ):
        Turns(share=0.5, lone_share=0.8, silent_share=0.3)


def test_the_formants_of_a_share_of_the_voices_move():
    shift = FormantShift(factors=[0.8, 1.25], share=0.5)
    factors = parameters_of(shift, 400)
    is_moved = factors != 1
    # three standard deviations of 800 draws
    assert abs(is_moved.mean() - 0.5) < 0.055 and 0.8 <= factors.min() < 0.82 and 1.22 < factors.max() <= 1.25
    voices = torch.from_numpy(noise(2, 2, 8000))
    voices[1, 1] = 0
    moved = shift.apply(voices, np.array([[1.0, 1.2], [0.85, 1.1]]), 8000)
    assert torch.equal(moved[0, 0], voices[0, 0]) and torch.equal(moved[1, 1], voices[1, 1])
    for place, factor in (((0, 1), 1.2), ((1, 0), 0.85)):
        expected = shift_formants(voices[place], factor, 8000)
        torch.testing.assert_close(moved[place] / moved[place].norm(), expected / expected.norm())
        torch.testing.assert_close(moved[place].norm(), voices[place].norm())


def test_an_example_with_turns_depends_on_its_draw_alone():
    turns = Turns(share=1.0)
    parameters = parameters_of(turns, 4)
    voices = torch.from_numpy(noise(4, 2, 8000))
    together = turns.apply(voices, parameters, 8000)
    alone = torch.cat([turns.apply(voices[[row]], parameters[[row]], 8000) for row in range(4)])
    assert torch.equal(together, alone)
