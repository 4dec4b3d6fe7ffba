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
The spatial broadcast decoder with the exact split of its first layer, compared with the literal one.

The literal decoder builds the grid of num_bins x num_frames x (hidden_size + position size) that the paper describes.
Both have the same weights and run alternately in one process. Memory is the peak of the bytes that tensors hold.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from tqdm.auto import tqdm

from audioslots_hf import AudioSlotsConfig
from audioslots_hf.modeling_audioslots import AudioSlotsDecoder, fourier_features


def literal_decode(decoder: AudioSlotsDecoder, slots: torch.Tensor) -> torch.Tensor:
    """[`AudioSlotsDecoder`] as described in the paper: copy each slot to every cell, concatenate the position."""
    config = decoder.config
    batch_size, num_slots, hidden_size = slots.shape
    positions = fourier_features(config.num_bins, config.num_frames, config.num_fourier_frequencies, like=slots)
    shape = (batch_size, num_slots, config.num_bins, config.num_frames, -1)
    grid = torch.cat([slots[:, :, None, None].expand(*shape[:-1], hidden_size), positions.expand(shape)], dim=-1)
    weight = torch.cat([decoder.slot_proj.weight, decoder.position_proj.weight], dim=1)
    hidden_states = nn.functional.linear(grid, weight, decoder.slot_proj.bias).relu_()
    del grid
    for layer in decoder.layers:
        hidden_states = layer(hidden_states).relu_()
    return decoder.out_proj(hidden_states).squeeze(-1)


def peak_tensor_bytes(function: Callable[[], torch.Tensor]) -> int:
    """The peak of the bytes that the CPU allocator had allocated while the function ran."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--repetitions", type=int, default=5, help="timed runs of each decoder (default: 5)")


@torch.inference_mode()
def run(options: argparse.Namespace) -> dict[str, float]:
    """Compare both decoders at the paper's size: float32, batch 1."""
    torch.manual_seed(0)
    config = AudioSlotsConfig()
    decoder = AudioSlotsDecoder(config).eval()
    slots = torch.randn(1, config.num_slots, config.hidden_size)
    decoders = {"split": lambda: decoder(slots), "literal": lambda: literal_decode(decoder, slots)}

    outputs = {name: decode() for name, decode in decoders.items()}
    error = (outputs["split"] - outputs["literal"]).abs().max() / outputs["literal"].abs().max()
    seconds: dict[str, list[float]] = {name: [] for name in decoders}
    # alternating, so that other load on the machine slows both
    for _ in tqdm(range(options.repetitions), desc="Timing", unit="pair"):
        for name, decode in decoders.items():
            started = time.perf_counter()
            decode()
            seconds[name].append(time.perf_counter() - started)
    peaks = {name: peak_tensor_bytes(decode) for name, decode in decoders.items()}
    for name in decoders:
        print(
            f"{name:>8}: {statistics.median(seconds[name]):.3f} s, peak {peaks[name] / 2**20:.0f} MiB of tensors",
            file=sys.stderr,
        )
    return {
        "speedup": statistics.median(seconds["literal"]) / statistics.median(seconds["split"]),
        "memory_ratio": peaks["literal"] / peaks["split"],
        "max_relative_error": error.item(),
    }
