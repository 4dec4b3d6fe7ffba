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
"""Resource use of a model: parameters, operations, time and memory."""

import sys
import time
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import FeatureExtractionMixin, PreTrainedModel

from .separator import Separator


def count_macs(model: PreTrainedModel, feature_extractor: FeatureExtractionMixin) -> float:
    """Multiply-accumulate operations of one forward pass over one chunk: of convolutions, matrix products and LSTMs."""
    return sum(count_macs_by_kind(model, feature_extractor))


def count_macs_by_kind(model: PreTrainedModel, feature_extractor: FeatureExtractionMixin) -> tuple[float, float]:
    """
    The operations of [`count_macs`]: of convolutions and matrix products, and of LSTMs.

    Counted on the meta device, without any computation.
    """
    config = model.config
    features = feature_extractor(torch.zeros(1, config.chunk_length), sampling_rate=config.sampling_rate)
    with torch.device("meta"):
        twin = type(model)(config).requires_grad_(False)
    lstm_macs = skip_lstms(twin)
    counter = FlopCounterMode(display=False)
    with counter:
        twin(**features.to("meta"))
    return counter.get_total_flops() / 2, sum(lstm_macs)


def skip_lstms(model: nn.Module) -> list[int]:
    """
    Make every LSTM of a model only count its operations -> the list to which the counts will be appended.

    The counter of PyTorch follows an LSTM step by step, which takes a minute for a few seconds of audio.
    """
    macs: list[int] = []

    def count(
        lstm: nn.LSTM, inputs: torch.Tensor, hx: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, None]:
        num_vectors = inputs[..., 0].numel()
        # each step multiplies each weight matrix once, in both directions
        macs.append(num_vectors * sum(weight.numel() for weight in lstm.parameters() if weight.ndim == 2))
        num_directions = 2 if lstm.bidirectional else 1
        return inputs.new_empty(*inputs.shape[:-1], num_directions * lstm.hidden_size), None

    for module in model.modules():
        if isinstance(module, nn.LSTM):
            module.forward = partial(count, module)
    return macs


def _peak_memory_bytes() -> int:
    """The peak resident memory of this process."""
    # the module is absent on Windows
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes, but bytes on macOS
    return peak if sys.platform == "darwin" else 1024 * peak


def measure_resources(separator: Separator, duration_s: int = 60) -> dict[str, str]:
    """
    Measure a loaded separator on noise.

    Args:
        separator ([`Separator`]):
            The loaded model.
        duration_s (`int`, *optional*, defaults to 60):
            Length of the noise in seconds.

    Returns:
        `dict` of names to values with their units, ready to print.
    """
    model, config, device = separator.model, separator.model.config, separator.device
    noise = 0.1 * torch.randn(1, duration_s * config.sampling_rate)
    # the first pass is slower: it selects kernels
    separator.separate(noise[:, : config.chunk_length])

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    separator.separate(noise)
    elapsed_s = time.perf_counter() - started
    hop_s = separator.chunk_hop_length / config.sampling_rate
    macs_per_s = count_macs(model, separator.feature_extractor) / hop_s
    return {
        "model": type(model).__name__,
        "sampling rate": f"{config.sampling_rate} Hz",
        "sources": str(config.num_sources),
        "chunk": f"{config.chunk_length / config.sampling_rate:g} s, one every {hop_s:g} s",
        "parameters": f"{model.num_parameters():,}",
        "operations per second of audio": f"{macs_per_s / 1e9:.2f} GMAC",
        f"real-time factor on {device}": f"{elapsed_s / duration_s:.4f} ({duration_s / elapsed_s:.1f}x real time)",
        f"peak memory for {duration_s} s, all included": _describe_memory(device),
    }


def _describe_memory(device: torch.device) -> str:
    """The peak memory of this process, and of its tensors on a GPU."""
    try:
        memory = f"{_peak_memory_bytes() / 2**20:.0f} MiB"
    except ImportError:
        memory = "not measured on this system"
    if device.type == "cuda":
        memory += f", and {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB on {device}"
    return memory


__all__ = ["count_macs", "count_macs_by_kind", "measure_resources", "skip_lstms"]
