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
Effects on waveforms, as pure functions in torch over arbitrary leading dimensions: speed, tilt, dynamic range, high-pass, low-pass,
spectrum, formants.

Workers, speech on the device and evaluation share them.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from scipy.signal import firwin
from torch.nn.functional import avg_pool1d, interpolate, pad

from audioslots_hf.stft import istft, stft


# one-sided zero crossings of the resampling filter, and shape of its Kaiser window, as in `scipy.signal.resample_poly`
NUM_CROSSINGS = 10
KAISER_BETA = 5.0
# order of the Butterworth filter: 24 dB per octave
ORDER = 4
# width of the transition of the low-pass filter
TRANSITION_HZ = 200.0
# padding for the ringing of a filter, which would otherwise wrap around to the other end
PADDING_S = 0.1
# window as short as that of a compressor for speech, but longer than a pitch period
ENVELOPE_HOP_S = 0.01
# lower limit of the envelope, relative to the power of the voice, so that pauses are not raised to speech
PAUSE_DB = 26.0
# bands, evenly spaced on the mel scale: fine enough for a microphone; the lowest ones are as wide as the pitch of a voice
NUM_BANDS = 16
# largest gain of a band, up or down, before the power is restored: larger differences remain
MAX_CHANGE_DB = 15.0
# lowest level of a band, relative to the mean of all bands: weaker bands count as silent
FLOOR_DB = 60.0
# frame in which the envelope of a spectrum moves
FORMANT_FRAME_S = 0.032
# cepstrum of an envelope: shorter than the period of any voice, so that harmonics stay
ENVELOPE_CEPSTRUM_S = 0.0022
MAX_FORMANT_CHANGE_DB = 22.0
# added to the power of a bin, for the logarithm of silence
POWER_FLOOR = 1e-8


def change_speed(waveforms: torch.Tensor, speed: Fraction, num_samples: int) -> torch.Tensor:
    """
    Waveforms that play faster by a factor, pitch included: `scipy.signal.resample_poly` in torch, on any device.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples before)`):
            On any device.
        speed (`Fraction`):
            2 halves the duration and raises the pitch by an octave.
        num_samples (`int`):
            Number of samples to return; silence follows the end of the waveforms.

    Returns:
        `torch.Tensor` of shape `(..., num_samples)`.
    """
    if speed == 1:
        return pad(waveforms, (0, num_samples - waveforms.shape[-1]))
    up, down = speed.denominator, speed.numerator
    kernels = resampling_kernels(up, down, waveforms.dtype, waveforms.device)
    leading = NUM_CROSSINGS * max(up, down) // up
    # each window gives `up` samples, and the next window starts `down` samples later
    num_windows = -(-num_samples // up)
    trailing = (num_windows - 1) * down + kernels.shape[0] - leading - waveforms.shape[-1]
    windows = pad(waveforms, (leading, trailing)).unfold(-1, kernels.shape[0], down)
    return (windows @ kernels).flatten(-2)[..., :num_samples]


# cached: a run has few speeds, and a copy to a GPU would synchronise
@lru_cache(maxsize=64)
def resampling_kernels(up: int, down: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The polyphase filters that make `up` samples of a window, (window length, up); the window advances by `down` samples"""
    half_length = NUM_CROSSINGS * max(up, down)
    taps = up * firwin(2 * half_length + 1, 1 / max(up, down), window=("kaiser", KAISER_BETA))
    offsets = np.arange(-(half_length // up), ((up - 1) * down + half_length) // up + 1)
    positions = half_length + np.arange(up) * down - offsets[:, None] * up
    inside = (positions >= 0) & (positions < len(taps))
    kernels = np.where(inside, taps[np.where(inside, positions, 0)], 0.0)
    return torch.from_numpy(kernels).to(device, dtype)


def tilt(waveforms: torch.Tensor, tilts_db: float | torch.Tensor) -> torch.Tensor:
    """
    Filter waveforms by one zero, with an initial state of silence.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        tilts_db (`float` or `torch.Tensor` of shape `(...)`):
            Gain of the highest frequency against the lowest, in dB: positive brightens, negative darkens, 0 changes nothing.
    """
    tilts = torch.as_tensor(tilts_db, dtype=waveforms.dtype, device=waveforms.device)[..., None]
    # (ratio - 1) / (ratio + 1), where the ratio of the amplitudes is 10 ** (tilt / 20)
    zeros = -torch.tanh(tilts * (np.log(10) / 40))
    return waveforms + zeros * pad(waveforms, (1, 0))[..., :-1]


def high_pass(waveforms: torch.Tensor, cutoffs_hz: float | torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """
    Filter waveforms by a Butterworth high-pass filter with zero phase.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        cutoffs_hz (`float` or `torch.Tensor` of shape `(...)`):
            The -3 dB frequency in hertz, at least 20; 0 passes all frequencies.
        sampling_rate (`int`):
            In hertz.
    """

    def find_gains(frequencies: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
        # for cutoffs of 20 Hz and more, this gain rounds to zero at 0 Hz, so 0 Hz needs no special case
        return (1 + (cutoffs / frequencies.clamp(min=1.0)) ** (2 * ORDER)).rsqrt()

    return filter_frequencies(waveforms, cutoffs_hz, sampling_rate, find_gains)


def low_pass(waveforms: torch.Tensor, cutoffs_hz: float | torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """
    Remove the frequencies above a cutoff, as a lower sampling rate does, with zero phase.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        cutoffs_hz (`float` or `torch.Tensor` of shape `(...)`):
            Above it nothing remains, in hertz; infinity passes all frequencies.
        sampling_rate (`int`):
            In hertz.
    """

    def find_gains(frequencies: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
        return ((cutoffs - frequencies) / TRANSITION_HZ).clamp(0, 1)

    return filter_frequencies(waveforms, cutoffs_hz, sampling_rate, find_gains)


def filter_frequencies(
    waveforms: torch.Tensor,
    cutoffs_hz: float | torch.Tensor,
    sampling_rate: int,
    find_gains: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """
    Filter waveforms with zero phase, by the gain of each frequency for a cutoff.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        cutoffs_hz (`float` or `torch.Tensor` of shape `(...)`):
            In hertz.
        sampling_rate (`int`):
            In hertz.
        find_gains (callable):
            Frequencies `(num_frequencies,)` and cutoffs `(..., 1)` in hertz to gains that broadcast to both.
    """
    num_samples = waveforms.shape[-1]
    padded_length = num_samples + round(PADDING_S * sampling_rate)
    frequencies = torch.fft.rfftfreq(padded_length, 1 / sampling_rate, dtype=waveforms.dtype, device=waveforms.device)
    cutoffs = torch.as_tensor(cutoffs_hz, dtype=waveforms.dtype, device=waveforms.device)
    gains = find_gains(frequencies, cutoffs[..., None])
    return torch.fft.irfft(torch.fft.rfft(waveforms, padded_length) * gains, padded_length)[..., :num_samples]


def compress_dynamic_range(
    waveforms: torch.Tensor, exponents: float | torch.Tensor, sampling_rate: int
) -> torch.Tensor:
    """
    Dynamic range compression, as by a compressor or an automatic gain control: division by a power of the envelope.

    Each waveform keeps its power.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        exponents (`float` or `torch.Tensor` of shape `(...)`):
            0 changes nothing, 1 removes all dynamics: a ratio of 1 / (1 - exponent).
        sampling_rate (`int`):
            In hertz.
    """
    hop_length = round(ENVELOPE_HOP_S * sampling_rate)
    powers = waveforms.square()
    means = powers.mean(dim=-1, keepdim=True)
    # a window of two hops
    rows = powers.reshape(-1, 1, powers.shape[-1])
    envelopes = avg_pool1d(rows, 2 * hop_length, hop_length, hop_length, count_include_pad=False)
    envelopes = interpolate(envelopes, powers.shape[-1], mode="linear", align_corners=True).reshape(powers.shape)
    envelopes = torch.maximum(envelopes, means * 10 ** (-PAUSE_DB / 10)).clamp(min=torch.finfo(powers.dtype).tiny)
    exponents = torch.as_tensor(exponents, dtype=powers.dtype, device=powers.device)[..., None]
    compressed = waveforms * (envelopes / means.clamp(min=torch.finfo(powers.dtype).tiny)) ** (-exponents / 2)
    return keep_power(compressed, waveforms)


def keep_power(changed: torch.Tensor, waveforms: torch.Tensor) -> torch.Tensor:
    """Changed waveforms, each scaled to the power of its original; silence stays silent"""
    energies = [signal.square().sum(dim=-1, keepdim=True) for signal in (waveforms, changed)]
    return changed * (energies[0] / energies[1].clamp(min=torch.finfo(changed.dtype).tiny)).sqrt()


def match_spectra(voices: torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """
    Match the spectra of voices, as if one microphone had recorded all: each band gets the mean in dB of the non-silent voices.

    Each voice keeps its power, its pitch, its rhythm, and all details finer than a mel band or shorter than the waveforms. The
    waveforms should be seconds long; in shorter ones the vowels would be matched too.

    Args:
        voices (`torch.Tensor` of shape `(..., num_voices, num_samples)`):
            On any device. A single voice is unchanged.
        sampling_rate (`int`):
            In hertz.

    Returns:
        `torch.Tensor` of the shape of `voices`.
    """
    num_samples = voices.shape[-1]
    padded_length = num_samples + round(PADDING_S * sampling_rate)
    spectra = torch.fft.rfft(voices, padded_length)
    bands = mel_bands(spectra.shape[-1], sampling_rate, voices.dtype, voices.device)
    levels_db = band_levels_db(spectra, bands)
    # silence has no spectrum
    is_audible = (voices != 0).any(dim=-1, keepdim=True).to(voices.dtype)
    means_db = (levels_db * is_audible).sum(dim=-2, keepdim=True) / is_audible.sum(dim=-2, keepdim=True).clamp(min=1)
    gains = 10 ** ((means_db - levels_db).clamp(-MAX_CHANGE_DB, MAX_CHANGE_DB) @ bands / 20)
    matched = torch.fft.irfft(spectra * gains, padded_length)[..., :num_samples]
    return keep_power(matched, voices)


def band_levels_db(spectra: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
    """Power in each band relative to the mean of all bands: complex (..., num_frequencies) to (..., NUM_BANDS), in dB"""
    powers = spectra.abs().square() @ bands.T / bands.sum(dim=1)
    powers = powers / powers.mean(dim=-1, keepdim=True).clamp(min=torch.finfo(powers.dtype).tiny)
    return 10 * (powers + 10 ** (-FLOOR_DB / 10)).log10()


# cached: the crops of a run have one length, and a copy to a GPU would synchronise
@lru_cache(maxsize=4)
def mel_bands(num_frequencies: int, sampling_rate: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Triangular bands that sum to one at every frequency from 0 to half of the sampling rate, (NUM_BANDS, num_frequencies)"""
    mels = 2595 * (1 + torch.linspace(0, sampling_rate / 2, num_frequencies, dtype=torch.float64) / 700).log10()
    centers = torch.linspace(0, float(mels[-1]), NUM_BANDS, dtype=torch.float64)
    return (1 - (mels - centers[:, None]).abs() / centers[1]).clamp(min=0).to(device, dtype)


def shift_formants(waveforms: torch.Tensor, factors: float | torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """
    Move the spectral envelope of voices along the frequencies, as a shorter or longer vocal tract does: pitch and duration stay.

    The envelope of a frame is the smooth part of its logarithmic spectrum, from the cepstrum.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        factors (`float` or `torch.Tensor` of shape `(...)`):
            A peak at 1 kHz moves to 1.1 kHz by a factor of 1.1; 1 changes nothing.
        sampling_rate (`int`):
            In hertz.
    """
    num_samples = waveforms.shape[-1]
    hop_length = round(FORMANT_FRAME_S * sampling_rate / 4)
    n_fft = 4 * hop_length
    spectra = stft(pad(waveforms, (0, -num_samples % hop_length)), n_fft, hop_length).transpose(-1, -2)
    cepstra = torch.fft.irfft((spectra.abs().square() + POWER_FLOOR).log(), n_fft)
    cepstra[..., round(ENVELOPE_CEPSTRUM_S * sampling_rate) + 1 : -round(ENVELOPE_CEPSTRUM_S * sampling_rate)] = 0
    envelopes = torch.fft.rfft(cepstra).real
    # between which bins a bin of the moved envelope lies, and how far
    bins = torch.arange(n_fft // 2 + 1, device=waveforms.device)
    places = bins / torch.as_tensor(factors, dtype=torch.float32, device=waveforms.device)[..., None, None]
    places = places.clamp(max=n_fft // 2).expand(envelopes.shape)
    lower = places.long().clamp(max=n_fft // 2 - 1)
    moved = torch.lerp(envelopes.gather(-1, lower), envelopes.gather(-1, lower + 1), places - lower)
    # nepers of an amplitude, of which the envelopes of powers have two
    limit = MAX_FORMANT_CHANGE_DB * np.log(10) / 20
    gains = ((moved - envelopes) / 2).clamp(-limit, limit).exp()
    return istft((spectra * gains).transpose(-1, -2), n_fft, hop_length)[..., :num_samples]
