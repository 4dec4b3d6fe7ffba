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
from transformers import AutoModel

from audioslots_hf import DprnnConfig, DprnnForAudioSeparation, modeling_dual_path
from audioslots_hf.modeling_dual_path import (
    DualPathDecoder,
    DualPathEncoder,
    DualPathGlobalLayerNorm,
    DualPathRecurrentBlock,
    mixture_consistent,
    overlap_add,
    recurrence_precision,
    segment_frames,
    sinusoidal_positions,
)
from tests.conftest import TINY_DUAL_PATH


@pytest.mark.parametrize("num_frames", [1, 4, 5, 6, 10, 11, 37])
def test_every_frame_lies_in_two_segments(num_frames):
    frames = torch.randn(3, num_frames, 4)
    segments = segment_frames(frames, 10)
    assert segments.shape[0] == 10 and segments.shape[1] == 3 and segments.shape[3] == 4
    torch.testing.assert_close(overlap_add(segments, num_frames), 2 * frames)


def test_segments_are_windows_half_a_length_apart():
    frames = torch.arange(1.0, 13.0).view(1, 12, 1)
    # (segment_length, batch_size, num_segments, size) -> (num_segments, segment_length)
    segments = segment_frames(frames, 4).squeeze(-1)[:, 0].T
    assert segments[0].tolist() == [0, 0, 1, 2]
    assert segments[1].tolist() == [1, 2, 3, 4]
    assert segments[2].tolist() == [3, 4, 5, 6]
    assert segments[-1].tolist() == [11, 12, 0, 0]


def test_filters_of_a_model_in_half_precision_are_the_rounded_ones():
    config = DprnnConfig(**TINY_DUAL_PATH | {"filterbank_init": "fourier", "encoder_kernel_size": 4})
    expected = AutoModel.from_config(config).model.encoder.filterbank.weight
    for dtype in (torch.bfloat16, torch.float16):
        filters = AutoModel.from_config(config, dtype=dtype).model.encoder.filterbank.weight
        assert torch.equal(filters, expected.to(dtype))


def test_a_length_that_is_no_multiple_of_the_stride_is_an_error():
    config = DprnnConfig(**TINY_DUAL_PATH)
    num_samples = 10 * config.encoder_stride + 1
    with pytest.raises(
        ValueError, match=rf"{num_samples} samples: pad it to a multiple of .* \({config.encoder_stride}\)"
    ):
        DprnnForAudioSeparation(config)(torch.randn(1, num_samples))


def test_autocast_leaves_the_lstms_of_a_gpu_in_float32():
    assert not torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", True)
    try:
        with recurrence_precision(torch.device("cuda")):
            assert not torch.is_autocast_enabled("cuda")
        assert torch.is_autocast_enabled("cuda")
    finally:
        torch.set_autocast_enabled("cuda", False)


@pytest.mark.parametrize("capability, dtype", [("AVX2", torch.bfloat16), ("AVX512", torch.float16)])
def test_autocast_on_a_cpu_without_such_lstms_leaves_them_in_float32(monkeypatch, capability, dtype):
    monkeypatch.setattr(modeling_dual_path, "CPU_CAPABILITY", capability)
    block = DualPathRecurrentBlock(DprnnConfig(**TINY_DUAL_PATH))
    dtypes = []
    block.lstm.register_forward_hook(lambda module, inputs, outputs: dtypes.append(outputs[0].dtype))
    with torch.autocast("cpu", dtype=dtype):
        block(torch.randn(10, 2, 5, block.lstm.input_size)).float().sum().backward()
    assert dtypes == [torch.float32]


# PyTorch announces another way
@pytest.mark.filterwarnings("ignore")
def test_dynamic_quantization_stays_close():
    torch.manual_seed(0)
    model = DprnnForAudioSeparation(DprnnConfig(**TINY_DUAL_PATH)).eval()
    mixtures = torch.randn(2, 100 * model.config.encoder_stride)
    quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.LSTM, torch.nn.Linear})
    with torch.no_grad():
        expected, estimates = model(mixtures).estimates, quantized(mixtures).estimates
    assert 0 < (estimates - expected).norm() < 0.05 * expected.norm()


def test_autocast_on_a_cpu_gives_a_recurrent_block_nearly_the_same_gradients():
    torch.manual_seed(0)
    config = DprnnConfig(**TINY_DUAL_PATH | {"hidden_size": 32, "lstm_hidden_size": 32})
    block = DualPathRecurrentBlock(config)
    hidden_states = torch.randn(64, 2, 5, 32)

    def gradients(is_half: bool) -> torch.Tensor:
        block.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
            outputs = block(hidden_states)
        outputs.float().square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in block.parameters()])

    exact, half = gradients(False), gradients(True)
    # bfloat16 rounds a number by up to 0.4 %
    assert 0 < (half - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("is_training", [True, False])
def test_global_layer_norm_is_group_norm_with_one_group(is_training):
    config = DprnnConfig(**TINY_DUAL_PATH)
    norm = DualPathGlobalLayerNorm(config)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    hidden_states = 3 + torch.randn(5, 2, 7, 8)
    # (segment_length, batch_size, num_segments, hidden_size) -> (batch_size, hidden_size, ...)
    expected = torch.nn.functional.group_norm(hidden_states.permute(1, 3, 0, 2), 1, norm.weight, norm.bias, norm.eps)
    # with gradients and without, the statistics are computed differently
    with torch.set_grad_enabled(is_training):
        normalized = norm(hidden_states)
    torch.testing.assert_close(normalized, expected.permute(2, 0, 3, 1), atol=1e-5, rtol=1e-5)


def test_encoder_and_decoder_keep_the_length_and_see_the_edges():
    config = DprnnConfig(**TINY_DUAL_PATH)
    encoder, decoder = DualPathEncoder(config), DualPathDecoder(config)
    waveforms = torch.zeros(1, 800)
    waveforms[0, 0] = waveforms[0, -1] = 1.0
    encoded = encoder(waveforms)
    assert encoded.shape == (1, 800 // 4 + 1, 8)
    # two frames see every sample, the first and the last too
    assert [index for index, frame in enumerate(encoded[0]) if frame.abs().max() > 0] == [0, 1, 199, 200]
    assert decoder(encoded.unsqueeze(1)).shape == (1, 1, 800)


def test_consistent_estimates_add_up_to_the_mixture_and_keep_their_differences():
    estimates, mixtures = torch.randn(2, 3, 50), torch.randn(2, 50)
    consistent = mixture_consistent(estimates, mixtures)
    torch.testing.assert_close(consistent.sum(dim=1), mixtures)
    torch.testing.assert_close(consistent[:, 0] - consistent[:, 1], estimates[:, 0] - estimates[:, 1])


def test_positions_are_those_of_the_transformer():
    positions = sinusoidal_positions(5, like=torch.zeros(1, 4))
    assert positions[0].tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(
        positions[3],
        torch.tensor([3.0, 0.03, 3.0, 0.03]).sin() * torch.tensor([1, 1, 0, 0])
        + torch.tensor([3.0, 0.03, 3.0, 0.03]).cos() * torch.tensor([0, 0, 1, 1]),
    )


def test_fresh_weights_have_the_scale_of_pytorch():
    torch.manual_seed(0)
    model = DprnnForAudioSeparation(DprnnConfig())
    bounds = {
        "model.encoder.filterbank.weight": 16**-0.5,
        "decoder.filterbank.weight": 16**-0.5,
        "model.layers.0.local_block.lstm.weight_ih_l0": 128**-0.5,
        "model.layers.0.local_block.lstm.weight_hh_l0_reverse": 128**-0.5,
        "model.layers.5.global_block.lstm.bias_ih_l0": 128**-0.5,
        "model.layers.0.local_block.proj.weight": 256**-0.5,
        "masker.source_proj.weight": 64**-0.5,
    }
    parameters = dict(model.named_parameters())
    for name, bound in bounds.items():
        # uniform between the bounds
        assert 0.9 * bound < parameters[name].abs().max() <= bound, name
    assert model.masker.act_fn.weight.item() == 0.25
    outputs = model(torch.randn(1, 1600), labels=torch.randn(1, 2, 1600))
    # half of the mixture is half of the mixture: the estimates do differ from the start
    assert (outputs.estimates[:, 0] - outputs.estimates[:, 1]).std() > 1e-3
