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
"""Transcripts of separated people, and subtitles that name who speaks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
import torch

from .resampling import resample


# pauses within an utterance, and the longest one, in seconds: recognizers need context, and Whisper hears 30 s at once
MAX_PAUSE_S = 0.8
MAX_UTTERANCE_S = 25.0
# a recognizer hears a little more than the segment
MARGIN_S = 0.2
# two lines of a subtitle
MAX_CHARACTERS = 84


@dataclass(frozen=True)
class Cue:
    """Words of a person from `start` to `end`, in seconds. The `speaker` is the label of a source."""

    start: float
    end: float
    speaker: str
    text: str


def transcribe_sources(
    sources: Iterable[Mapping[str, Any]], recognizer: Callable[..., Any], **options: Any
) -> list[Cue]:
    """
    Transcribe the segments of separated people.

    Args:
        sources (iterable of `dict`):
            The result of [`AudioSeparationPipeline`] for one recording.
        recognizer (callable):
            An `automatic-speech-recognition` pipeline of transformers, or a function with its interface: it takes
            `{"raw": array, "sampling_rate": int}` and returns `{"text": str}`.
        options:
            Passed to the recognizer, for instance `generate_kwargs={"language": "en"}`.

    Returns:
        A `list` of [`Cue`], by start, without segments in which no word was recognized.
    """
    cues = []
    for source in sources:
        samples, rate = np.asarray(source["audio"]), source["sampling_rate"]
        if samples.ndim == 2:
            samples = samples.mean(axis=int(samples.shape[0] > samples.shape[1]))
        for start, end in join_segments(source["segments"]):
            part = samples[max(0, round((start - MARGIN_S) * rate)) : round((end + MARGIN_S) * rate)]
            heard, heard_rate = _prepare_audio(part, rate, recognizer)
            text = recognizer({"raw": heard, "sampling_rate": heard_rate}, **options)["text"].strip()
            if text:
                cues.append(Cue(start, end, source["label"], text))
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def join_segments(segments: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Segments with short pauses between them as one utterance, at most 25 s long; longer segments are cut."""
    joined: list[tuple[float, float]] = []
    for start, end in segments:
        if joined and start - joined[-1][1] <= MAX_PAUSE_S and end - joined[-1][0] <= MAX_UTTERANCE_S:
            start = joined.pop()[0]
        num_parts = max(1, int(np.ceil((end - start) / MAX_UTTERANCE_S)))
        edges = np.linspace(start, end, num_parts + 1).tolist()
        joined += list(zip(edges, edges[1:], strict=False))
    return joined


def _prepare_audio(samples: np.ndarray, rate: int, recognizer: Any) -> tuple[np.ndarray, int]:
    """Samples at the rate of the recognizer, which would need torchaudio to resample them."""
    extractor = getattr(recognizer, "feature_extractor", None)
    wanted = getattr(extractor, "sampling_rate", rate)
    # recognizers reject the shortest inputs
    samples = np.pad(samples, (0, max(0, round(2 * MARGIN_S * rate) - len(samples))))
    return resample(torch.from_numpy(samples.astype(np.float32)), rate, wanted).numpy(), wanted


def split_cue(cue: Cue, max_characters: int = MAX_CHARACTERS) -> list[Cue]:
    """Cut a long cue between words, and share its time in proportion to the characters."""
    texts: list[str] = []
    for word in cue.text.split():
        if texts and len(texts[-1]) + 1 + len(word) <= max_characters:
            texts[-1] += f" {word}"
        else:
            texts.append(word)
    ends = np.cumsum([len(text) for text in texts])
    times = cue.start + (cue.end - cue.start) * np.concatenate([[0], ends]) / max(1, ends[-1] if len(ends) else 1)
    return [
        replace(cue, start=float(start), end=float(end), text=text)
        for start, end, text in zip(times, times[1:], texts, strict=False)
    ]


def format_srt(cues: Iterable[Cue], names: Mapping[str, str] | None = None) -> str:
    """Subtitles in SubRip's format, each with the name of its speaker; `names` replaces labels."""
    names = names or {}
    parts = [part for cue in cues for part in split_cue(cue)]
    return "".join(
        f"{number}\n{_format_time(cue.start, ',')} --> {_format_time(cue.end, ',')}\n"
        f"{names.get(cue.speaker, cue.speaker)}: {cue.text}\n\n"
        for number, cue in enumerate(parts, start=1)
    )


def format_vtt(cues: Iterable[Cue], names: Mapping[str, str] | None = None) -> str:
    """Subtitles in WebVTT, with the speaker in a voice tag, so that players may colour each; `names` replaces labels."""
    names = names or {}
    parts = [part for cue in cues for part in split_cue(cue)]
    return "WEBVTT\n\n" + "".join(
        f"{_format_time(cue.start, '.')} --> {_format_time(cue.end, '.')}\n"
        f"<v {escape(names.get(cue.speaker, cue.speaker), quote=False)}>{escape(cue.text, quote=False)}\n\n"
        for cue in parts
    )


def _format_time(seconds: float, mark: str) -> str:
    """Hours, minutes, seconds and milliseconds: `01:02:03,456`"""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"


__all__ = [
    "Cue",
    "MARGIN_S",
    "MAX_CHARACTERS",
    "MAX_PAUSE_S",
    "MAX_UTTERANCE_S",
    "format_srt",
    "format_vtt",
    "join_segments",
    "split_cue",
    "transcribe_sources",
]
