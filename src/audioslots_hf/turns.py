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
Who speaks when within the chunks of a recording, by the voices of short windows of its estimates.

An estimate of a chunk may hold one voice first and another one later, or a part of a voice that the model split, until a second
person begins. So the voice of each estimate is found for each fifth of a second, with embeddings of windows around it.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from .activity import FRAMES_PER_S, find_spans, loud_level_db, moving_mean, smooth_activity, to_db


# windows of the voice encoder, and frames of 20 ms from one window to the next
WINDOW_S = 0.8
FRAMES_PER_HOP = 10
# frames on either side of the middle of a window whose speech makes it reliable
SPEECH_FRAMES = 10
# Two estimates are parts of one voice only if that explains both better by this cosine than two voices do: if in doubt, the
# log-odds below decide.
JOIN_MARGIN = -0.1
# cosine that a change of the voice of one estimate costs
CHANGE_COST = 0.3
# Log-odds that the voice of an estimate speaks in a frame: logistic regression on the true activity in ten conversations of
# validation speakers, which gets 7 % of the frames wrong (16 % of the least similar pair of voices among them).
# per dB of the level relative to the other estimate, within RATIO_RANGE_DB, and relative to the loud frames of the recording
RATIO_WEIGHT = 0.033
LEVEL_WEIGHT = 0.149
RATIO_RANGE_DB = (-25.0, 10.0)
# for the cosine to the own voice minus that to the other one, of this estimate and of the other one
OWN_WEIGHT = 3.33
OTHER_WEIGHT = 1.48
BIAS = 3.76
# log-odds are limited to this, which is also the certainty of a chunk with one voice
MAX_LOG_ODDS = 8.0
# frames over which levels, and log-odds, are averaged
NUM_AVERAGED_FRAMES = 9
# range of levels of a voice below its own loud frames
RANGE_DB = 25.0
# a track opens this early and closes this late where nobody else speaks: soft sounds begin and end words
MARGIN_FRAMES = 2


@dataclass
class ChunkTurns:
    """
    The voices of one chunk.

    Args:
        assignment (int `np.ndarray` of shape `(num_windows, num_estimates)`):
            Voice of each estimate in each window. Estimates with the same voice are parts of it.
        log_odds (`np.ndarray` of shape `(num_voices, num_frames)`):
            Of each voice to speak in each frame of 20 ms, if there is speech in it.
        powers (`np.ndarray` of shape `(num_voices, num_frames)`):
            Of the frames of each voice.
    """

    assignment: np.ndarray
    log_odds: np.ndarray
    powers: np.ndarray


def cut_windows(waveforms: torch.Tensor, sampling_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Windows of 0.8 s around every fifth of a second, and the weights of their frames of 20 ms: loud frames count.

    `(num_estimates, num_samples)` -> `(num_windows, num_estimates, window_length)`, zeros beyond the ends, and
    `(num_windows, num_estimates, num_window_frames)`.
    """
    frame = sampling_rate // FRAMES_PER_S
    length = round(WINDOW_S * FRAMES_PER_S) * frame
    padded = torch.nn.functional.pad(waveforms, (length // 2, length // 2))
    windows = padded.unfold(-1, length, FRAMES_PER_HOP * frame).transpose(0, 1)
    # frame i of the encoder is centred at sample i * frame
    frames = torch.nn.functional.pad(windows, (frame // 2, frame - frame // 2)).unfold(-1, frame, frame)
    powers = frames.square().mean(dim=-1)
    return windows, (powers > powers.amax(dim=-1, keepdim=True) * 10 ** (-RANGE_DB / 10)).float()


def find_turns(
    similarities: np.ndarray,
    active: np.ndarray,
    powers: np.ndarray,
    mixture_powers: np.ndarray,
    loud_db: float,
    assignment: np.ndarray | None = None,
) -> ChunkTurns:
    """
    The voices of one chunk.

    Args:
        similarities (`np.ndarray` of shape `(num_windows, num_estimates, num_voices)`):
            Cosine of each estimate and each voice, in the windows of [`cut_windows`].
        active (bool `np.ndarray` of shape `(num_estimates, num_frames)`):
            Frames in which an estimate holds speech that is no leak.
        powers (`np.ndarray` of shape `(num_estimates, num_frames)`), mixture_powers (`np.ndarray` of shape `(num_frames,)`):
            Of the frames.
        loud_db (`float`):
            Level of the loud frames of the recording.
        assignment (int `np.ndarray` of shape `(num_windows, num_estimates)`, *optional*):
            Voice of each estimate in each window. By default [`assign_windows`] finds it.
    """
    num_voices, num_frames = similarities.shape[-1], len(mixture_powers)
    if assignment is None:
        assignment = assign_windows(similarities, _window_speech(active, len(similarities)))
    # (num_estimates, num_frames)
    voices = assignment[nearest_windows(num_frames, len(assignment))].T
    log_odds = np.full((num_voices, num_frames), -MAX_LOG_ODDS)
    voice_powers = np.zeros((num_voices, num_frames))
    frames = np.arange(num_frames)
    is_joined = (voices == voices[0]).all(axis=0)
    levels = to_db(np.stack([moving_mean(row, NUM_AVERAGED_FRAMES) for row in powers]))
    # (num_frames, num_estimates, num_voices)
    similarities = _interpolate(similarities, num_frames)
    for estimate, own in enumerate(voices):
        # the loudest estimate of another voice
        rivals = np.where(voices == own, -np.inf, levels)
        rival = rivals.argmax(axis=0)
        other = voices[rival, frames]
        ratio = np.clip(levels[estimate] - rivals[rival, frames], *RATIO_RANGE_DB)
        near, far = similarities[frames, estimate], similarities[frames, rival]
        found = RATIO_WEIGHT * ratio + LEVEL_WEIGHT * (levels[estimate] - loud_db) + BIAS
        found += OWN_WEIGHT * (near[frames, own] - near[frames, other])
        found += OTHER_WEIGHT * (far[frames, own] - far[frames, other])
        found = np.where(is_joined, MAX_LOG_ODDS, np.clip(found, -MAX_LOG_ODDS, MAX_LOG_ODDS))
        log_odds[own, frames] = np.maximum(log_odds[own, frames], found)
        voice_powers[own, frames] += powers[estimate]
    joined = np.flatnonzero(is_joined)
    voice_powers[voices[0, joined], joined] = mixture_powers[joined]
    return ChunkTurns(assignment, log_odds, voice_powers)


def assign_windows(similarities: np.ndarray, speech: np.ndarray) -> np.ndarray:
    """
    The voice of each estimate in each window, by the Viterbi algorithm.

    Args:
        similarities (`np.ndarray` of shape `(num_windows, num_estimates, num_voices)`):
            Cosine of each estimate and each voice.
        speech (`np.ndarray` of shape `(num_windows, num_estimates)`):
            Share of speech in the middle of each window, from 0 to 1.

    Returns:
        int `np.ndarray` of shape `(num_windows, num_estimates)`.
    """
    num_windows, num_estimates, num_voices = similarities.shape
    states = np.array(list(itertools.product(range(num_voices), repeat=num_estimates)))
    scores = np.zeros((num_windows, len(states)))
    for estimate, voices in enumerate(states.T):
        scores += speech[:, estimate, None] * similarities[:, estimate, voices]
    # the speech of all but the longest of the joined estimates counts; where there is none, joined estimates win
    joined = states[:, :, None] == np.arange(num_voices)
    inside = np.where(joined, speech[:, None, :, None], 0.0)
    scores += JOIN_MARGIN * (inside.sum(axis=2) - inside.max(axis=2)).sum(axis=-1)
    scores += 1e-4 * (joined.sum(axis=1) > 1).any(axis=-1)
    costs = CHANGE_COST * (states[:, None] != states).sum(axis=-1)
    totals, before = scores[0], []
    for row in scores[1:]:
        reached = totals[:, None] - costs
        before.append(reached.argmax(axis=0))
        totals = reached.max(axis=0) + row
    path = [int(totals.argmax())]
    for row in reversed(before):
        path.append(int(row[path[-1]]))
    return states[path[::-1]]


def cross_fade(parts: Iterable[np.ndarray], starts: Iterable[int], num_frames: int) -> np.ndarray:
    """Values of overlapping chunks, each `(num_voices, num_chunk_frames)` -> `(num_voices, num_frames)`, as tracks are joined."""
    sums, weights = 0.0, np.zeros(num_frames)
    for part, start in zip(parts, starts, strict=True):
        if np.isscalar(sums):
            sums = np.zeros((len(part), num_frames))
        window = np.sin(np.pi * (np.arange(part.shape[1]) + 0.5) / part.shape[1]) ** 2 + 1e-6
        stop = min(start + part.shape[1], num_frames)
        sums[:, start:stop] += (part * window)[:, : stop - start]
        weights[start:stop] += window[: stop - start]
    return sums / np.maximum(weights, 1e-12)


def decide_activity(
    log_odds: np.ndarray, powers: np.ndarray, mixture_powers: np.ndarray, threshold_db: float
) -> np.ndarray:
    """
    Whether each voice speaks.

    Args:
        log_odds (`np.ndarray` of shape `(num_voices, num_frames)`), powers (`np.ndarray` of the same shape):
            From the [`ChunkTurns`] of all chunks.
        mixture_powers (`np.ndarray` of shape `(num_frames,)`):
            Of the recording.
        threshold_db (`float`):
            Level above which frames are speech, from [`~activity.find_threshold_db`].

    Returns:
        bool `np.ndarray` of shape `(num_voices, num_frames)`.
    """
    log_odds = np.stack([moving_mean(row, NUM_AVERAGED_FRAMES) for row in log_odds])
    # speech has a speaker
    likely = (log_odds > 0) | (np.arange(len(log_odds))[:, None] == log_odds.argmax(axis=0))
    is_lone = likely.sum(axis=0) == 1
    active = np.zeros(likely.shape, bool)
    for voice in np.flatnonzero(likely.any(axis=1)):
        levels = to_db(np.where(is_lone, mixture_powers, powers[voice]))
        loud_db = loud_level_db(levels[likely[voice]])
        heard = likely[voice] & (levels > max(loud_db - RANGE_DB, threshold_db))
        active[voice] = smooth_activity(heard, padding_s=0.0)
    return active


def widen_activity(active: np.ndarray) -> np.ndarray:
    """Let each voice begin earlier and end later where nobody else speaks: bool (num_voices, num_frames) -> same"""
    anybody = active.any(axis=0)
    widened = active.copy()
    for voice, row in enumerate(active):
        for start, stop in find_spans(row):
            widened[voice, max(0, start - MARGIN_FRAMES) : stop + MARGIN_FRAMES] = True
    return active | (widened & ~anybody)


def window_frames(num_windows: int) -> list[slice]:
    """The frames around the middle of each window."""
    middles = range(0, num_windows * FRAMES_PER_HOP, FRAMES_PER_HOP)
    return [slice(max(0, middle - SPEECH_FRAMES), middle + SPEECH_FRAMES) for middle in middles]


def nearest_windows(num_frames: int, num_windows: int) -> np.ndarray:
    """The window whose middle is nearest to each frame: int (num_frames,)"""
    return np.clip(np.round((np.arange(num_frames) + 0.5) / FRAMES_PER_HOP).astype(int), 0, num_windows - 1)


def window_gains(assignment: np.ndarray, num_voices: int, times: torch.Tensor) -> torch.Tensor:
    """
    How much of each estimate belongs to each voice, cross-faded from window to window.

    Args:
        assignment (int `np.ndarray` of shape `(num_windows, num_estimates)`):
            Voice of each estimate in each window.
        num_voices (`int`):
            Number of voices.
        times (`torch.Tensor` of shape `(num_samples,)`):
            Of the samples, in seconds from the start of the chunk.

    Returns:
        `torch.Tensor` of shape `(num_voices, num_estimates, num_samples)`.
    """
    places = (times * (FRAMES_PER_S / FRAMES_PER_HOP)).clamp(0, len(assignment) - 1)
    first = places.long().clamp(max=max(0, len(assignment) - 2))
    second = (first + 1).clamp(max=len(assignment) - 1)
    # (num_voices, num_estimates, num_windows)
    owned = torch.from_numpy(np.arange(num_voices)[:, None, None] == assignment.T).float()
    return owned[..., first].lerp(owned[..., second], (places - first).clamp(0, 1))


def _window_speech(active: np.ndarray, num_windows: int) -> np.ndarray:
    """Share of active frames around the middle of each window: (num_estimates, num_frames) -> (num_windows, num_estimates)"""
    sums = [active[:, frames].sum(axis=1) for frames in window_frames(num_windows)]
    return np.stack(sums) / (2 * SPEECH_FRAMES)


def _interpolate(values: np.ndarray, num_frames: int) -> np.ndarray:
    """Values of windows at the frames between their middles: (num_windows, ...) -> (num_frames, ...)"""
    places = np.minimum((np.arange(num_frames) + 0.5) / FRAMES_PER_HOP, len(values) - 1)
    first = places.astype(int)
    second = np.minimum(first + 1, len(values) - 1)
    share = (places - first).reshape(-1, *[1] * (values.ndim - 1))
    return values[first] * (1 - share) + values[second] * share


__all__ = [
    "BIAS",
    "CHANGE_COST",
    "ChunkTurns",
    "FRAMES_PER_HOP",
    "JOIN_MARGIN",
    "LEVEL_WEIGHT",
    "MARGIN_FRAMES",
    "MAX_LOG_ODDS",
    "NUM_AVERAGED_FRAMES",
    "OTHER_WEIGHT",
    "OWN_WEIGHT",
    "RANGE_DB",
    "RATIO_RANGE_DB",
    "RATIO_WEIGHT",
    "SPEECH_FRAMES",
    "WINDOW_S",
    "assign_windows",
    "cross_fade",
    "cut_windows",
    "decide_activity",
    "find_turns",
    "nearest_windows",
    "widen_activity",
    "window_frames",
    "window_gains",
]
