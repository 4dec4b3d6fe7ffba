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
Scores of tracks of a conversation: who is on which track, from the first word to the last.

All of them compare tracks, of any number, with the references and with the truth about who speaks in which frame of 10 ms.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from audioslots_hf.matching import UNMATCHED, match_estimates
from audioslots_hf.metrics import best_order, si_snr

from ..data.activity import FRAMES_PER_S, find_activity, frame_levels_db, loud_level_db, smooth_activity


# half a second with only one voice, which speaks for at least half of it
WINDOW_FRAMES = FRAMES_PER_S // 2
OWN_TRACK_DB = 6.0
# a track so far below the mixture holds no voice
SILENT_TRACK_DB = -60.0
# levels of silence and ratios of perfect tracks are limited to these
MIN_SILENCE_DB = -100.0
MAX_SI_SDR_DB = 60.0
# how far below the loud frames of the mixture the loud frames of a voice may be
LEVEL_RANGE_DB = 15.0
# a track this far below the loudest one, over 0.3 s, contains only its leak
LEAK_DB = -15.0
LEAK_FRAMES = 30
# people who speak for less are not counted
MIN_VOICE_S = 1.0


@dataclass(frozen=True)
class ConversationScores:
    """
    Scores of one recording, `None` where one is not defined.

    Args:
        si_sdr (`float`):
            SI-SDR in dB over the whole recording, limited to 60 dB, mean over the voices in the order that makes it highest. A
            voice without a track, or with a silent one, counts as the mixture.
        si_sdri (`float`, *optional*):
            Its improvement over the mixture, so 0 dB for a missed voice; `None` of one voice, which is the mixture.
        own_track (`float`, *optional*):
            Share of the half-seconds with one voice alone in which its track is louder than each other by 6 dB.
        swaps_per_minute (`float`):
            How often a voice that is heard alone is loudest, by 6 dB, on another track than when last alone.
        silence_db (`float`, *optional*):
            Level of a track while its voice is silent, relative to its level while it speaks, at least -100 dB; mean over
            the voices with a track.
        count_is_right (`bool`):
            Whether as many tracks are active for a second or more as people speak.
        missed (`int`), false (`int`):
            Voices without a track of their own, and tracks that are audible and belong to no voice.
        der (`float`, *optional*):
            Diarization error rate: missed, false and confused speech over all speech. Overlaps count and there is no collar.
    """

    si_sdr: float
    si_sdri: float | None
    own_track: float | None
    swaps_per_minute: float
    silence_db: float | None
    count_is_right: bool
    missed: int
    false: int
    der: float | None


def score_conversation(
    tracks: np.ndarray,
    references: np.ndarray,
    active: np.ndarray,
    sampling_rate: int,
    track_activity: np.ndarray | None = None,
) -> ConversationScores:
    """
    Score the tracks of one recording.

    Args:
        tracks (`np.ndarray` of shape `(num_tracks, num_samples)`):
            In any order, more or fewer than there are voices, or none.
        references (`np.ndarray` of shape `(num_voices, num_samples)`):
            Each voice alone; their sum is the mixture.
        active (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Whether each voice speaks, for frames of 10 ms.
        sampling_rate (`int`):
            In hertz.
        track_activity (bool `np.ndarray` of shape `(num_tracks, num_frames)`, *optional*):
            Whether each track is said to hold speech; by default as its energy tells.
    """
    mixture = references.sum(axis=0)
    if track_activity is None:
        track_activity = find_track_activity(tracks, mixture, sampling_rate)
    track_of_voice = match_tracks(tracks, references)
    levels = frame_levels_db(tracks, sampling_rate)
    ratios, mixture_ratios = si_sdr_of_voices(tracks, references, track_of_voice)
    return ConversationScores(
        si_sdr=float(ratios.mean()),
        si_sdri=None if len(references) == 1 else float((ratios - mixture_ratios).mean()),
        own_track=own_track_share(levels, active, track_of_voice),
        swaps_per_minute=count_swaps(levels, active) * 60 * FRAMES_PER_S / active.shape[1],
        silence_db=silence_level_db(levels, references, active, track_of_voice, sampling_rate),
        count_is_right=count_voices(track_activity) == count_voices(active),
        missed=track_of_voice.count(None),
        false=len(find_audible(tracks, references)) - (len(track_of_voice) - track_of_voice.count(None)),
        der=diarization_error_rate(track_activity, active),
    )


def find_track_activity(tracks: np.ndarray, mixture: np.ndarray, sampling_rate: int) -> np.ndarray:
    """
    Where each track holds a voice, by its energy, (num_tracks, num_samples) -> bool (num_tracks, num_frames).

    The result of [`~activity.find_activity`], without frames in which another track is far louder: leaks are not speech.
    """
    min_loud_db = loud_level_db(frame_levels_db(mixture, sampling_rate)) - LEVEL_RANGE_DB
    levels = frame_levels_db(tracks, sampling_rate)
    if len(tracks) == 0:
        return np.zeros(levels.shape, dtype=bool)
    window = np.ones(LEAK_FRAMES) / LEAK_FRAMES
    powers = np.stack([np.convolve(10 ** (level / 10), window, mode="same") for level in levels])
    drowned = powers < powers.max(axis=0) * 10 ** (LEAK_DB / 10)
    activity = [find_activity(track, sampling_rate, min_loud_db) for track in tracks]
    return np.stack([smooth_activity(row) for row in np.stack(activity) & ~drowned])


def match_tracks(tracks: np.ndarray, references: np.ndarray) -> list[int | None]:
    """The track of each voice, in the order with the highest mean SI-SDR over the recording; silent tracks belong to no voice."""
    audible = find_audible(tracks, references)
    if len(audible) == 0:
        return [None] * len(references)
    order = best_order(torch.from_numpy(tracks[audible])[None], torch.from_numpy(references)[None])[0].tolist()
    return [None if track == UNMATCHED else int(audible[track]) for track in order]


def find_audible(tracks: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The tracks that are not silent, of (num_tracks, num_samples)."""
    mixture_energy = np.square(references.sum(axis=0), dtype=np.float64).sum()
    energies = np.square(tracks, dtype=np.float64).sum(axis=-1)
    return np.flatnonzero(energies > mixture_energy * 10 ** (SILENT_TRACK_DB / 10))


def si_sdr_of_voices(
    tracks: np.ndarray, references: np.ndarray, track_of_voice: list[int | None]
) -> tuple[np.ndarray, np.ndarray]:
    """SI-SDR in dB of the track of each voice, the mixture where it has none, and of the mixture: twice (num_voices,)."""
    mixture = torch.from_numpy(references.sum(axis=0))
    rows = []
    for reference, track in zip(torch.from_numpy(references), track_of_voice, strict=True):
        of_mixture = si_snr(mixture, reference).item()
        rows.append(
            (of_mixture if track is None else si_snr(torch.from_numpy(tracks[track]), reference).item(), of_mixture)
        )
    ratios, mixture_ratios = np.minimum(np.array(rows), MAX_SI_SDR_DB).T
    return ratios, mixture_ratios


def lone_windows(active: np.ndarray) -> list[tuple[int, int]]:
    """The first frame and the voice of each half-second in which one voice speaks, for half of it or more, and no other."""
    windows = []
    for start in range(0, active.shape[1] - WINDOW_FRAMES + 1, WINDOW_FRAMES):
        counts = active[:, start : start + WINDOW_FRAMES].sum(axis=1)
        voice = int(counts.argmax())
        if counts[voice] == counts.sum() and 2 * counts[voice] >= WINDOW_FRAMES:
            windows.append((start, voice))
    return windows


def window_levels_db(levels: np.ndarray, start: int) -> np.ndarray:
    """Levels of a half-second from those of its frames, (num_tracks, num_frames) -> (num_tracks,)."""
    return mean_level_db(levels[:, start : start + WINDOW_FRAMES])


def mean_level_db(levels: np.ndarray) -> np.ndarray:
    """The level of several frames together, (..., num_frames) -> (...)."""
    return 10 * np.log10((10 ** (levels / 10)).mean(axis=-1))


def find_clear_track(levels: np.ndarray) -> int | None:
    """The track that is louder than each other by 6 dB, of (num_tracks,), if there is one."""
    if len(levels) == 0:
        return None
    others = np.delete(levels, levels.argmax())
    is_clear = len(others) == 0 or levels.max() - others.max() >= OWN_TRACK_DB
    return int(levels.argmax()) if is_clear else None


def own_track_share(levels: np.ndarray, active: np.ndarray, track_of_voice: list[int | None]) -> float | None:
    """Share of the half-seconds with one voice alone that are on its own track; a voice without one has none of them."""
    windows = lone_windows(active)
    if not windows:
        return None
    hits = [
        track_of_voice[voice] is not None
        and find_clear_track(window_levels_db(levels, start)) == track_of_voice[voice]
        for start, voice in windows
    ]
    return sum(hits) / len(hits)


def count_swaps(levels: np.ndarray, active: np.ndarray) -> int:
    """How often a voice is alone on another track than when it was alone last; half-seconds without a clear track are passed."""
    tracks: dict[int, list[int]] = {}
    for start, voice in lone_windows(active):
        track = find_clear_track(window_levels_db(levels, start))
        if track is not None:
            tracks.setdefault(voice, []).append(track)
    return sum(before != after for sequence in tracks.values() for before, after in pairwise(sequence))


def silence_level_db(
    levels: np.ndarray,
    references: np.ndarray,
    active: np.ndarray,
    track_of_voice: list[int | None],
    sampling_rate: int,
) -> float | None:
    """
    Level of a track while its voice is silent, relative to its level while the voice speaks, mean over the voices.

    Silent are the frames in which the reference is 60 dB below its speech: in the pauses of a turn the room is heard.
    """
    ratios = []
    reference_levels = frame_levels_db(references, sampling_rate)
    for voice, track in enumerate(track_of_voice):
        speaking = active[voice]
        if track is None or not speaking.any():
            continue
        floor = mean_level_db(reference_levels[voice, speaking]) + SILENT_TRACK_DB
        silent = ~speaking & (reference_levels[voice] < floor)
        if silent.any():
            ratio = mean_level_db(levels[track, silent]) - mean_level_db(levels[track, speaking])
            ratios.append(max(MIN_SILENCE_DB, float(ratio)))
    return float(np.mean(ratios)) if ratios else None


def count_voices(active: np.ndarray) -> int:
    """How many rows of (num_voices, num_frames) are active for a second or more."""
    return int((active.sum(axis=-1) >= MIN_VOICE_S * FRAMES_PER_S).sum())


def diarization_error_rate(found: np.ndarray, active: np.ndarray) -> float | None:
    """
    Missed, false and confused speech over all speech, as NIST RT and pyannote.metrics define it.

    Found speakers are matched one to one with the true ones, so that they agree for the longest time. Overlaps count, and there
    is no collar around the boundaries, to which 10 ms are added by the frames.

    Args:
        found (bool `np.ndarray` of shape `(num_tracks, num_frames)`):
            Whether each found speaker speaks.
        active (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Whether each true speaker speaks.

    Returns:
        The rate, which may exceed 1; `None` where nobody speaks.
    """
    if not active.any():
        return None
    agreement = found.astype(np.float64) @ active.T.astype(np.float64)
    order = (
        match_estimates(torch.from_numpy(-agreement)[None])[0].tolist() if len(found) else [UNMATCHED] * len(active)
    )
    correct = sum(
        (active[voice] & found[track]).astype(np.int64) for voice, track in enumerate(order) if track != UNMATCHED
    )
    errors = np.maximum(found.sum(axis=0), active.sum(axis=0)) - correct
    return float(errors.sum() / active.sum())
