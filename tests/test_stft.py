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
import pytest
import torch

from audioslots_hf.masking import apply_masks, binary_masks, wiener_masks
from audioslots_hf.stft import inverse_real_stft, istft, real_stft, stft


def snr_db(estimates: torch.Tensor, references: torch.Tensor) -> float:
    return 10 * torch.log10(references.square().sum() / (estimates - references).square().sum()).item()


def test_a_chunk_inverts_to_its_edges():
    waveforms = torch.randn(2, 3, 8000, generator=torch.Generator().manual_seed(0))
    spectrograms = stft(waveforms, 512, 125)
    assert spectrograms.shape == (2, 3, 257, 65)
    inverted = istft(spectrograms, 512, 125)
    # float32 has 24 bits, 144 dB
    assert snr_db(inverted, waveforms) > 120
    assert snr_db(inverted[..., :100], waveforms[..., :100]) > 100
    assert snr_db(inverted[..., -100:], waveforms[..., -100:]) > 100


def test_a_sine_peaks_in_its_bin():
    time_s = torch.arange(8000) / 16000
    magnitudes = stft(torch.sin(2 * torch.pi * 1000 * time_s), 512, 125).abs()
    assert magnitudes[:, 32].argmax() == 1000 * 512 // 16000


def test_half_precision_is_computed_in_float32():
    waveforms = torch.randn(800)
    assert stft(waveforms.bfloat16(), 128, 50).dtype == torch.complex64


@pytest.mark.parametrize("exponent", [1.0, 2.0, 1 / 0.3])
def test_wiener_masks_are_shares(exponent):
    magnitudes = torch.rand(2, 3, 5, 4)
    powers = magnitudes.double() ** exponent
    expected = powers / powers.sum(dim=1, keepdim=True)
    torch.testing.assert_close(wiener_masks(magnitudes, exponent).double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("level", [1e-39, 1e-20, 1e15])
def test_wiener_masks_neither_underflow_nor_overflow(level):
    magnitudes = level * torch.tensor([1.0, 2.0])[:, None, None]
    expected = torch.tensor([1.0, 2.0**3.3]) / (1 + 2.0**3.3)
    torch.testing.assert_close(wiener_masks(magnitudes, 3.3)[:, 0, 0], expected)


@pytest.mark.parametrize("masks", [wiener_masks, binary_masks])
def test_masks_add_up_to_one_and_silence_is_shared(masks):
    magnitudes = torch.randn(2, 3, 5, 4)
    magnitudes[0, :, 0] = 0.0
    magnitudes[1, :, 1] = -1.0
    result = masks(magnitudes)
    torch.testing.assert_close(result.sum(dim=1), torch.ones(2, 5, 4))
    torch.testing.assert_close(result[0, :, 0], torch.full((3, 4), 1 / 3))
    torch.testing.assert_close(result[1, :, 1], torch.full((3, 4), 1 / 3))


def test_binary_masks_give_a_cell_to_the_largest():
    magnitudes = torch.tensor([[[0.1, 3.0]], [[0.2, -4.0]]])
    assert binary_masks(magnitudes).tolist() == [[[0.0, 1.0]], [[1.0, 0.0]]]


def test_the_nyquist_bin_and_the_last_frame_take_their_neighbours_masks():
    masks = torch.rand(2, 4, 3)
    masked = apply_masks(masks, torch.ones(5, 4, dtype=torch.complex64)).real
    assert torch.equal(masked[:, :4, :3], masks)
    assert torch.equal(masked[:, 4], masked[:, 3])
    assert torch.equal(masked[:, :, 3], masked[:, :, 2])


@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 125), (256, 100), (512, 250), (2048, 1000)])
def test_masks_do_not_blow_up_at_the_edges_of_a_chunk(n_fft, hop_length):
    noise = torch.randn(200, 8000, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(200, n_fft // 2, 8000 // hop_length, generator=torch.Generator().manual_seed(1))
    masked = apply_masks(masks[:, None], stft(noise, n_fft, hop_length))
    levels = istft(masked, n_fft, hop_length)[:, 0].square().mean(dim=0).sqrt()
    for edge in (levels[:20], levels[-20:]):
        assert edge.max() < 1.5 * levels.mean()


@pytest.mark.parametrize(("n_fft", "hop_length", "num_samples"), [(64, 20, 800), (512, 160, 8000), (512, 128, 1280)])
def test_the_real_spectrum_is_that_of_torch_and_its_inverse_is_exact_to_the_edges(n_fft, hop_length, num_samples):
    waveforms = torch.randn(2, num_samples, generator=torch.Generator().manual_seed(0))
    spectra = real_stft(waveforms, n_fft, hop_length)
    padding = (n_fft - hop_length) // 2
    expected = torch.stft(
        torch.nn.functional.pad(waveforms, (padding, padding)),
        n_fft,
        hop_length,
        window=torch.hann_window(n_fft),
        center=False,
        return_complex=True,
    )
    assert spectra.shape == (2, 2, n_fft // 2 + 1, num_samples // hop_length)
    torch.testing.assert_close(torch.complex(*spectra.unbind(dim=1)), expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(inverse_real_stft(spectra, n_fft, hop_length), waveforms, atol=2e-5, rtol=0)
