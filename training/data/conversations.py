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
Conversations simulated from speech by speaker: turns, gaps, pauses, overlaps and interjections.

The statistics follow published corpora of conversations:

* The next speaker begins 0.2 s after the last one ended, at the most frequent offset in ten languages (Stivers et al. 2009,
  "Universals and cultural variation in turn-taking in conversation", PNAS 106(26)), and gaps are skewed: a few are long.
* Pauses before the same speaker continues are longer than gaps. Overlaps are frequent at changes of the speaker
  (Heldner and Edlund 2010, "Pauses, gaps and overlaps in conversations", Journal of Phonetics 38(4)).
* Short acknowledgements of a listener are a fifth of the utterances of Switchboard (Jurafsky et al. 1997, "Switchboard
  SWBD-DAMSL", 19 % backchannels).
* The overlap share is that of LibriCSS (Chen et al. 2020, arXiv 2001.11482): the time in which two voices are heard, relative
  to the time in which any is. As there, it goes from 0 to 40 %, and no more than two are heard at once.

Turns are longer than those of Switchboard, since the speech is read: 3 s in the median, 1 to 8 s, as in interviews.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..settings import SettingsError
from .activity import FRAMES_PER_S, find_activity, find_spans, frame_length
from .loudness import MAX_PEAK, SPEECH_LUFS, gain_between
from .rooms import MAX_RT60_S, MIN_RT60_S, draw_responses, reverberate
from .speech import Utterance
from .stretches import SpeakerLine, Stretch


MAX_VOICES = 5
MAX_OVERLAP = 0.5
# median in seconds and width of the logarithm
TURN_S = (3.0, 0.5)
GAP_S = (0.2, 0.7)
PAUSE_S = (0.5, 0.6)
TURN_RANGE_S = (1.0, 8.0)
INTERJECTION_RANGE_S = (0.3, 0.9)
# probabilities
SAME_SPEAKER = 0.2
INTERJECTION = 0.3
# shorter overlaps are set to zero
MIN_OVERLAP_S = 0.1
# levels of the turns of one voice
LEVEL_SPREAD_DB = 1.0


class Segment(NamedTuple):
    """A stretch of speech without a pause: from `start` to `end`, in seconds, by the voice with the index `speaker`."""

    start: float
    end: float
    speaker: int


@dataclass(frozen=True)
class ConversationStyle:
    """
    The kind of a conversation.

    Args:
        num_voices (`int`, *optional*, defaults to 2):
            Number of people who speak, 1 to 5.
        duration_s (`float`, *optional*, defaults to 60):
            Length in seconds.
        overlap (`float`, *optional*, defaults to 0.2):
            Time in which two voices are heard, relative to the time in which any is; 0 to 0.5.
        rt60_s (`float`, *optional*, defaults to 0):
            Reverberation time of a room in seconds, 0.2 to 0.6; 0 for none.
        panning_db (`float`, *optional*, defaults to 0):
            Highest level difference of a voice between two channels in dB; 0 for one channel.

    Raises:
        `SettingsError`: there is no such conversation.
    """

    num_voices: int = 2
    duration_s: float = 60.0
    overlap: float = 0.2
    rt60_s: float = 0.0
    panning_db: float = 0.0

    def __post_init__(self):
        if not 1 <= self.num_voices <= MAX_VOICES:
            raise SettingsError(f"`num_voices` is {self.num_voices}: it must be 1 to {MAX_VOICES}.")
        if self.duration_s <= 0:
            raise SettingsError(f"`duration_s` is {self.duration_s}: it must be positive.")
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise SettingsError(f"`overlap` is {self.overlap}: it must be 0 to {MAX_OVERLAP}.")
        if self.num_voices == 1 and self.overlap > 0:
            raise SettingsError(f"`overlap` is {self.overlap}: one voice has nothing to overlap with.")
        if self.rt60_s and not MIN_RT60_S <= self.rt60_s <= MAX_RT60_S:
            raise SettingsError(
                f"`rt60_s` is {self.rt60_s}: it must be {MIN_RT60_S} to {MAX_RT60_S} s, or 0 for no room."
            )
        if self.panning_db < 0:
            raise SettingsError(f"`panning_db` is {self.panning_db}: it must be positive, or 0 for one channel.")


@dataclass
class Conversation:
    """
    A simulated recording.

    Args:
        references (`np.ndarray` of shape `(num_voices, num_samples)`):
            Each voice alone, float32, exact zeros outside its turns; in a room with its reverberation. The mean of its channels.
        active (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Whether a voice speaks, for each frame of 10 ms, as [`~activity.find_activity`] of its reference tells, without
            reverberation.
        speakers (`list` of `int`):
            The speaker of each voice, as the index into the speech.
        gains (`np.ndarray` of shape `(num_channels, num_voices)`, *optional*):
            Of each voice in each channel, with a mean of 1 over the channels. By default there is one channel.
    """

    references: np.ndarray
    active: np.ndarray
    speakers: list[int]
    gains: np.ndarray | None = None

    @property
    def mixture(self) -> np.ndarray:
        """All voices together, float32 (num_samples,); the mean of the channels."""
        return self.references.sum(axis=0)

    @property
    def recording(self) -> np.ndarray:
        """The channels, float32 (num_channels, num_samples)."""
        return self.mixture[None] if self.gains is None else self.gains @ self.references

    @property
    def segments(self) -> list[Segment]:
        """Who speaks when, by start."""
        segments = [
            Segment(start / FRAMES_PER_S, stop / FRAMES_PER_S, voice)
            for voice, active in enumerate(self.active)
            for start, stop in find_spans(active)
        ]
        return sorted(segments)

    @property
    def overlap(self) -> float:
        """Time in which two voices are heard, relative to the time in which any is."""
        counts = self.active.sum(axis=0)
        return float((counts > 1).sum() / max(1, (counts > 0).sum()))


@dataclass
class Timeline:
    """A conversation while it is built; times are frames of 10 ms."""

    references: np.ndarray
    active: np.ndarray
    # where the last turn ends, and from where on its speaker is alone in it
    floor_end: int
    alone_from: int = 0
    # where each voice spoke last
    ends: dict[int, int] = field(default_factory=dict)

    def place(self, voice: int, start: int, stretch: Stretch, gain: float) -> int:
        """Add speech of a voice from a frame on -> the frame after it. Speech after the end is cut."""
        length = self.references.shape[1] // self.active.shape[1]
        samples = stretch.samples[: max(0, self.references.shape[1] - start * length)]
        self.references[voice, start * length : start * length + len(samples)] += np.float32(gain) * samples
        self.active[voice, start : start + len(stretch.active)] |= stretch.active[
            : max(0, self.active.shape[1] - start)
        ]
        self.ends[voice] = start + len(stretch.active)
        return self.ends[voice]

    def missing_overlap(self, overlap: float, num_new: int) -> float:
        """How many frames two voices must be heard in, so that the share is reached when so many frames of speech come."""
        counts = self.active.sum(axis=0)
        speech, overlapped = int((counts > 0).sum()), int((counts > 1).sum())
        return (overlap * (speech + num_new) - overlapped) / (1 + overlap)


class ConversationSimulator:
    """
    Conversations by index: the same seed and index give the same recording.

    Example:

    ```python
    >>> speech = load_speech(SpeechArguments("speech"), 16000)
    >>> conversation = ConversationSimulator(speech, 16000, ConversationStyle(num_voices=3))[0]
    >>> conversation.mixture.shape, conversation.references.shape, conversation.segments[0]
    ```

    Args:
        speech (`list`):
            The speakers, each a list of [`Utterance`].
        sampling_rate (`int`):
            In hertz, a multiple of 100.
        style ([`ConversationStyle`]):
            Voices, length and overlap.
        seed (`int`, *optional*, defaults to 72):
            Of all draws.

    Raises:
        `SettingsError`: fewer speakers than voices, or a rate that has no frames of 10 ms.
    """

    def __init__(self, speech: list[list[Utterance]], sampling_rate: int, style: ConversationStyle, seed: int = 72):
        if len(speech) < style.num_voices:
            raise SettingsError(f"There are {len(speech)} speakers for conversations of {style.num_voices} voices.")
        if sampling_rate % FRAMES_PER_S:
            raise SettingsError(f"The sampling rate is {sampling_rate} Hz: it must be a multiple of {FRAMES_PER_S}.")
        self.speech = speech
        self.sampling_rate = sampling_rate
        self.style = style
        self.seed = seed

    def __getitem__(self, index: int) -> Conversation:
        rng = np.random.default_rng([self.seed, index])
        num_voices, num_frames = self.style.num_voices, round(self.style.duration_s * FRAMES_PER_S)
        speakers = rng.choice(len(self.speech), num_voices, replace=False).tolist()
        lines = [SpeakerLine(self.speech[speaker], self.sampling_rate, rng) for speaker in speakers]
        levels = rng.uniform(*SPEECH_LUFS, num_voices)
        timeline = Timeline(
            np.zeros((num_voices, num_frames * frame_length(self.sampling_rate)), np.float32),
            np.zeros((num_voices, num_frames), dtype=bool),
            floor_end=int(rng.integers(FRAMES_PER_S // 2)),
        )

        def speak(voice: int, start: int, stretch: Stretch) -> int:
            level = levels[voice] + rng.normal(0, LEVEL_SPREAD_DB)
            return timeline.place(voice, start, stretch, gain_between(stretch.loudness, level))

        # everybody speaks once before anybody is drawn
        waiting, last = rng.permutation(num_voices).tolist(), None
        while timeline.floor_end < num_frames:
            voice = waiting.pop() if waiting else self.draw_speaker(last, rng)
            stretch = lines[voice].take(float(np.clip(draw_lognormal(TURN_S, rng), *TURN_RANGE_S)))
            start = timeline.floor_end + self.draw_offset(timeline, voice, last, stretch, rng)
            timeline.alone_from, timeline.floor_end = timeline.floor_end, speak(voice, start, stretch)
            if num_voices > 1 and rng.random() < INTERJECTION:
                listener = self.draw_listener(voice, rng)
                short = lines[listener].take(rng.uniform(*INTERJECTION_RANGE_S))
                if (place := self.find_place(timeline, listener, short, rng)) is not None:
                    timeline.alone_from = speak(listener, place, short)
            last = voice
        # recomputed, because pauses between turns and different levels of turns change the activity slightly
        active = [find_activity(reference, self.sampling_rate) for reference in timeline.references]
        references = timeline.references
        if self.style.rt60_s:
            references = reverberate(
                references, draw_responses(num_voices, self.style.rt60_s, self.sampling_rate, rng)
            )
        conversation = Conversation(references, np.stack(active), speakers)
        if self.style.panning_db:
            gains = draw_panning(num_voices, self.style.panning_db, rng)
            conversation.references *= gains.mean(axis=0)[:, None]
            conversation.gains = gains / gains.mean(axis=0)
        conversation.references *= np.float32(min(1.0, MAX_PEAK / max(np.abs(conversation.recording).max(), 1e-8)))
        return conversation

    def draw_speaker(self, last: int, rng: np.random.Generator) -> int:
        """Who has the next turn."""
        return last if rng.random() < SAME_SPEAKER or self.style.num_voices == 1 else self.draw_listener(last, rng)

    def draw_listener(self, speaker: int, rng: np.random.Generator) -> int:
        """Somebody else."""
        return (speaker + int(rng.integers(1, self.style.num_voices))) % self.style.num_voices

    def draw_offset(
        self, timeline: Timeline, voice: int, last: int | None, stretch: Stretch, rng: np.random.Generator
    ) -> int:
        """Frames from the end of the last turn to the next, below zero where they overlap."""
        if last is None:
            return 0
        if voice == last:
            return round(draw_lognormal(PAUSE_S, rng) * FRAMES_PER_S)
        num_new = len(stretch.active)
        wanted = timeline.missing_overlap(self.style.overlap, num_new) * rng.uniform(0.5, 1.5)
        # never three at once, nor a voice with itself, nor a turn that ends before the one that it interrupts
        earliest = max(timeline.alone_from, timeline.ends.get(voice, 0))
        overlap = int(min(wanted, 0.8 * num_new, timeline.floor_end - earliest))
        if overlap >= MIN_OVERLAP_S * FRAMES_PER_S:
            return -overlap
        return max(1, round(draw_lognormal(GAP_S, rng) * FRAMES_PER_S))

    def find_place(self, timeline: Timeline, listener: int, short: Stretch, rng: np.random.Generator) -> int | None:
        """Where a listener says something into the last turn, or `None` if there is no place or overlap enough."""
        if timeline.missing_overlap(self.style.overlap, 0) < len(short.active):
            return None
        margin = round(INTERJECTION_RANGE_S[0] * FRAMES_PER_S)
        earliest = max(timeline.alone_from, timeline.ends.get(listener, 0)) + margin
        latest = timeline.floor_end - len(short.active) - margin
        return int(rng.integers(earliest, latest + 1)) if earliest <= latest else None


def draw_panning(num_voices: int, max_db: float, rng: np.random.Generator) -> np.ndarray:
    """Gains of equal power of each voice in two channels, with a level difference of at most so many dB: float32 (2, num_voices)"""
    angles = np.arctan(10 ** (rng.uniform(-max_db, max_db, num_voices) / 20))
    return np.float32(2**0.5) * np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def draw_lognormal(parameters: tuple[float, float], rng: np.random.Generator) -> float:
    """A duration in seconds, from its median and the width of its logarithm."""
    median, width = parameters
    return median * float(np.exp(width * rng.standard_normal()))
