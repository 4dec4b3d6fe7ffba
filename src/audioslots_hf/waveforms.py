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
"""Conversion of raw audio of any type to validated float32 waveforms."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch


# the largest number of channels of a microphone array; no batch has mixtures this short
MAX_CHANNELS = 8
# A larger mean, relative to the level of the rest, is a DC offset: speech and rumble have less, and keep it as in training.
MIN_OFFSET = 0.25
# of fewer seconds the mean is part of the sound
MIN_OFFSET_S = 0.1


def to_waveform(audio: np.ndarray | torch.Tensor | Sequence[float]) -> torch.Tensor:
    """
    Any array of samples -> float32 tensor of the same shape and device.

    Integer PCM is scaled by the range of its type (uint8 is offset binary, as in WAV files).

    Raises:
        `ValueError`: the audio is empty, complex or boolean, or (on the CPU) contains NaN or infinite samples.
    """
    if isinstance(audio, torch.Tensor):
        waveform = audio.detach()
    else:
        array = np.asarray(audio)
        if array.ndim == 0:
            raise ValueError(f"The audio is empty: it is the single number {array}.")
        if array.dtype.kind not in "iuf":
            raise ValueError(f"Audio of type {array.dtype} is not supported: give floats in [-1, 1] or integer PCM.")
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        # torch warns about read-only memory
        waveform = torch.from_numpy(array if array.flags.writeable else array.copy())
    if waveform.numel() == 0 or waveform.ndim == 0:
        raise ValueError(f"The audio is empty: its shape is {tuple(waveform.shape)}.")
    if waveform.is_complex() or waveform.dtype == torch.bool:
        raise ValueError(f"Audio of type {waveform.dtype} is not supported: give floats in [-1, 1] or integer PCM.")
    if not waveform.is_floating_point():
        waveform = _scale_integers(waveform)
    waveform = waveform.float()
    # reading values on a GPU would synchronise with it in every training step
    if waveform.device.type == "cpu" and not torch.isfinite(waveform).all():
        num_bad = int((~torch.isfinite(waveform)).sum())
        raise ValueError(f"The audio contains {num_bad} NaN or infinite samples: remove or replace them first.")
    return waveform


def _scale_integers(waveform: torch.Tensor) -> torch.Tensor:
    if waveform.dtype in (torch.int64, torch.uint64):
        raise ValueError(
            f"Audio of type {waveform.dtype} is not supported: its range does not determine the level. Convert PCM to its "
            "own type, for instance `audio.astype('int16')`, or to floats in [-1, 1]."
        )
    info = torch.iinfo(waveform.dtype)
    half_range = (info.max - info.min + 1) / 2
    offset = half_range if info.min == 0 else 0
    return (waveform.float() - offset) / half_range


def batch_waveforms(audio: np.ndarray | torch.Tensor | Sequence, padded_length: int) -> tuple[torch.Tensor, list[int]]:
    """
    One waveform, a stack or a list of them -> float32 (batch_size, padded_length) and a list of their lengths

    Raises:
        `ValueError`: no waveform, more than two dimensions, or a waveform longer than `padded_length`.
    """
    rows = _to_rows(audio)
    lengths = [rows.shape[1]] * len(rows) if isinstance(rows, torch.Tensor) else [len(row) for row in rows]
    if max(lengths) > padded_length:
        raise ValueError(
            f"The audio has {max(lengths)} samples but the model takes at most {padded_length}: cut it into chunks, "
            "or use `audioslots_hf.load_separator`, which takes any length."
        )
    if isinstance(rows, torch.Tensor):
        return torch.nn.functional.pad(rows, (0, padded_length - lengths[0])), lengths
    return torch.stack([torch.nn.functional.pad(row, (0, padded_length - len(row))) for row in rows]), lengths


def count_samples(lengths: list[int], device: torch.device) -> torch.Tensor:
    """Lengths as int64 (batch_size,); equal ones are filled on the device, because a copy would synchronise with a GPU."""
    if len(set(lengths)) == 1:
        return torch.full((len(lengths),), lengths[0], device=device)
    return torch.tensor(lengths, device=device)


def batch_references(
    labels: np.ndarray | torch.Tensor | Sequence, lengths: list[int], padded_length: int
) -> torch.Tensor:
    """
    References `(num_sources, num_samples)` of each mixture -> float32 (batch_size, num_sources, padded_length)

    Raises:
        `ValueError`: the number of mixtures, sources or samples differs from that of the audio.
    """
    if isinstance(labels, np.ndarray | torch.Tensor) and labels.ndim == 2:
        labels = labels[None]
    if len(labels) != len(lengths):
        raise ValueError(f"There are {len(labels)} sets of references for {len(lengths)} mixtures.")
    num_sources = len(labels[0])
    if any(len(references) != num_sources for references in labels):
        raise ValueError(f"Every mixture must have as many references as the first, {num_sources}.")
    is_stack = isinstance(labels, torch.Tensor)
    rows = labels.flatten(0, 1) if is_stack else [reference for references in labels for reference in references]
    waveforms, found = batch_waveforms(rows, padded_length)
    for index, length in enumerate(found):
        if length != (expected := lengths[index // num_sources]):
            raise ValueError(
                f"Reference {index % num_sources} of mixture {index // num_sources} has {length} samples "
                f"but its mixture {expected}."
            )
    return waveforms.unflatten(0, (-1, num_sources))


def cut_to_length(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
    """
    Set the samples after the end of each mixture to zero, and cut after the end of the longest.

    (batch_size, num_sources, padded_length), (batch_size,) -> (batch_size, num_sources, max(num_samples))
    """
    inside = torch.arange(waveforms.shape[-1], device=waveforms.device) < num_samples[:, None, None]
    return (waveforms * inside)[..., : int(num_samples.max())]


def check_return_tensors(return_tensors: str | None) -> None:
    """Raise a `ValueError` unless `return_tensors` is `"pt"`."""
    if return_tensors != "pt":
        raise ValueError(
            f"`return_tensors` is {return_tensors!r}: only 'pt' is supported. Call `.numpy()` on the tensors for NumPy."
        )


def check_options(options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise a `ValueError` if there are options that no code here reads, as other feature extractors have them."""
    if options:
        name, value = next(iter(options.items()))
        reason = (
            "Audio is always padded to `chunk_length`"
            if name in ("padding", "max_length")
            else "There is no such option"
        )
        raise ValueError(f"`{name}` is {value!r}. {reason}: leave it out. The options are {', '.join(known)}.")


def to_rate(sampling_rate: Any) -> int:
    """
    A sampling rate as an `int`: NumPy's own integers would overflow where lengths are computed from them.

    Raises:
        `ValueError`: it is not a positive whole number.
    """
    is_number = isinstance(sampling_rate, int | float | np.number) and not isinstance(sampling_rate, bool)
    if not is_number or not sampling_rate > 0 or sampling_rate % 1 != 0:
        raise ValueError(f"`sampling_rate` is {sampling_rate!r}: it must be a positive whole number of hertz.")
    return int(sampling_rate)


def check_sampling_rate(sampling_rate: int | None, expected: int) -> None:
    """Raise a `ValueError` if the sampling rate of the audio, in hertz, is no number or differs from the model's."""
    if isinstance(sampling_rate, str | bool):
        to_rate(sampling_rate)
    if sampling_rate is not None and sampling_rate != expected:
        raise ValueError(
            f"The audio has a sampling rate of {sampling_rate!r} Hz but the model works at {expected} Hz: "
            "resample it first, or use `audioslots_hf.load_separator`, which takes any rate."
        )


def root_mean_square(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
    """Level of each waveform over its first `num_samples`, 1 for silence: (batch_size, length) -> (batch_size,)"""
    # relative to the peak, squares neither underflow nor overflow; some devices lack float64
    peaks = waveforms.abs().amax(dim=-1)
    peaks = torch.where(peaks > 0, peaks, 1.0)
    levels = peaks * ((waveforms / peaks[:, None]).square().sum(dim=-1) / num_samples).sqrt()
    return torch.where(levels > 0, levels, 1.0)


def find_offset(waveform: torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """
    The DC offset of a chunk of audio, as a cheap recorder adds it: float32 `(num_samples,)` -> `()`, 0 where there is none.

    Models would take it for sound: an offset at the level of the voices costs 2 dB, at four times their level 12 dB.
    """
    mean = waveform.mean(dtype=torch.float32)
    if len(waveform) < MIN_OFFSET_S * sampling_rate:
        return torch.zeros_like(mean)
    rest = (waveform - mean).square().mean().sqrt()
    return torch.where(mean.abs() > MIN_OFFSET * rest, mean, 0.0)


def _to_rows(audio: np.ndarray | torch.Tensor | Sequence) -> torch.Tensor | list[torch.Tensor]:
    """One waveform, a stack or a list of them -> a stack, which can be processed at once, or a list."""
    # NumPy's representation of waveforms of different lengths
    is_ragged = isinstance(audio, np.ndarray) and audio.dtype == object
    if isinstance(audio, np.ndarray | torch.Tensor) and not is_ragged:
        if audio.ndim > 2:
            raise ValueError(
                f"Audio of shape {tuple(audio.shape)} is not supported: give `(num_samples,)` or "
                "`(batch_size, num_samples)`."
            )
        if 0 in audio.shape or audio.ndim == 0:
            raise ValueError(f"The audio is empty: its shape is {tuple(audio.shape)}.")
        if audio.ndim == 2 and audio.shape[0] > MAX_CHANNELS >= audio.shape[1]:
            raise ValueError(
                f"Audio of shape {tuple(audio.shape)} looks like {audio.shape[1]} channels: give `(num_samples,)` or "
                "`(batch_size, num_samples)`, or use `audioslots_hf.load_separator`, which takes channels."
            )
        return to_waveform(audio).view(-1, audio.shape[-1])
    if isinstance(audio, str | bytes | Mapping) or not isinstance(audio, Iterable):
        raise ValueError(
            f"Audio of type {type(audio).__name__} is not supported: give samples, as an array, a tensor or a list, or use "
            "`audioslots_hf.load_separator`, which takes files."
        )
    rows = list(audio)
    if not rows:
        raise ValueError("The audio is empty: the list holds no waveform.")
    rows = [to_waveform(row) for row in ([rows] if np.isscalar(rows[0]) else rows)]
    for row in rows:
        if row.ndim != 1:
            raise ValueError(
                f"A waveform must have one dimension, not the shape {tuple(row.shape)}: split the channels."
            )
    return rows


__all__ = [
    "MAX_CHANNELS",
    "MIN_OFFSET",
    "MIN_OFFSET_S",
    "batch_references",
    "batch_waveforms",
    "check_options",
    "check_return_tensors",
    "check_sampling_rate",
    "count_samples",
    "cut_to_length",
    "find_offset",
    "root_mean_square",
    "to_rate",
    "to_waveform",
]
