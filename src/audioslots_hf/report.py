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
"""A report of a separation: one page that plays and shows its tracks, without any other file."""

import base64
import datetime
import html
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from string import Template

import numpy as np

from . import __version__
from .activity import find_activity, find_threshold_db
from .conversation import ConversationPlan, ConversationSeparator
from .files import write_text
from .jobs import OutputChoices
from .plots import RANGE_DB, SILENCE_DB
from .report_tracks import PlayerFormat, TrackContent, choose_player, draw_spectrogram, read_track
from .separator import Separator


TEMPLATE = Path(__file__).with_name("report.html")
NUM_TICKS = 4
# longer lists of segments are folded
MAX_LISTED = 20
Segments = list[tuple[float, float]]


@dataclass
class ReportContent:
    """
    What a report says beside the content of the files.

    Args:
        recording (`Path`):
            The separated file.
        tracks (`list` of `Path`):
            The tracks.
        duration_s (`float`):
            Length of the recording in seconds.
        settings (`dict` of `str` to `str`):
            Model and options, from [`describe_settings`].
        segments (`list`, *optional*):
            Start and end of the segments of each track, in seconds. By default they come from the levels of the tracks.
        warnings (`list` of `str`):
            Warnings about the recording.
    """

    recording: Path
    tracks: list[Path]
    duration_s: float
    settings: dict[str, str]
    segments: list[Segments] | None = None
    warnings: list[str] = field(default_factory=list)


def describe_settings(separator: Separator | ConversationSeparator | None, choices: OutputChoices) -> dict[str, str]:
    """Model and options of a run in words."""
    settings = {"Program": f"audioslots-hf {__version__}"}
    if separator is None:
        return settings | {"Separation": "none: each channel of the recording is the track of a person"}
    is_conversation = isinstance(separator, ConversationSeparator)
    model = (separator.separator if is_conversation else separator).model
    # a name on the Hub is public, and folders are not
    name = model.name_or_path
    name = Path(name).name if Path(name).is_dir() else name
    settings["Model"] = (
        f"{name} ({model.config.model_type}, {model.num_parameters():,} parameters, {separator.sampling_rate} Hz)"
    )
    if not is_conversation:
        settings["Separation"] = f"{model.config.num_sources} tracks, as many as the model has outputs"
    elif separator.num_speakers is None:
        settings["Separation"] = "one track for each person; the number of people was found"
    else:
        settings["Separation"] = f"one track for each of {separator.num_speakers} people"
    settings["Channels"] = "mixed to one" if choices.mix else "each separated"
    return settings


def write_report(path: Path, content: ReportContent) -> None:
    """Write the page of a separated recording."""
    files = [content.recording, *content.tracks]
    player = choose_player(len(files), content.duration_s)
    mixture, *tracks = [read_track(file, player, content.duration_s) for file in files]
    segments = content.segments
    if segments is None:
        segments = _find_segments(mixture, tracks, content.duration_s)
    loudest_db = max(np.percentile(track.levels_db, 99.5) for track in (mixture, *tracks))
    loudest_db = max(float(loudest_db), SILENCE_DB + RANGE_DB)
    spoken = [None, *segments]
    rows = [
        _format_row(index, file, track, loudest_db, spans, content)
        for index, (file, track, spans) in enumerate(zip(files, (mixture, *tracks), spoken, strict=True))
    ]
    write_text(path, _fill_template(content, player, mixture, rows, segments))


def _find_segments(mixture: TrackContent, tracks: list[TrackContent], duration_s: float) -> list[Segments]:
    """Who speaks when, by the levels of the tracks."""
    powers = np.stack([track.powers for track in tracks])
    threshold_db = find_threshold_db(mixture.powers)
    activity = find_activity(powers, threshold_db) if np.isfinite(threshold_db) else np.zeros(powers.shape, bool)
    return ConversationPlan(np.zeros((0, len(powers)), int), activity, duration_s).segments


def _fill_template(
    content: ReportContent,
    player: PlayerFormat,
    mixture: TrackContent,
    rows: list[str],
    segments: list[Segments],
) -> str:
    name = content.recording.name
    warnings = list(content.warnings)
    if player.duration_s < content.duration_s:
        warnings.append(f"the players hold the first {format_time(player.duration_s)} of the recording only")
    channels = f"{mixture.num_channels} channel{'' if mixture.num_channels == 1 else 's'}"
    facts = {
        "Recording": f"{name}, {format_time(content.duration_s)}, {mixture.sampling_rate} Hz, {channels}",
        **content.settings,
        "Players": f"one channel, MP3, {player.sampling_rate} Hz, {player.bits_per_s // 1000} kbit/s; the tracks themselves are better",
        "Made on": datetime.date.today().isoformat(),
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(name),
        lead=f"{len(content.tracks)} track{'' if len(content.tracks) == 1 else 's'}, {format_time(content.duration_s)}",
        duration_s=f"{player.duration_s:.3f}",
        total_s=f"{content.duration_s:.3f}",
        rows="\n".join(rows),
        warnings=_format_warnings(warnings),
        segments="\n".join(map(_format_segments, count(1), content.tracks, segments)),
        facts="\n".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in facts.items()),
    )


def _format_row(
    index: int, file: Path, track: TrackContent, loudest_db: float, spans: Segments | None, content: ReportContent
) -> str:
    """The part of a page about a file: its name, controls, spectrogram, activity and player."""
    title, duration_s = "Recording" if index == 0 else f"Track {index}", content.duration_s
    # the tracks together are the recording
    is_mute = "true" if index == 0 and content.tracks else "false"
    name = html.escape(f"{title}, {file.name}", quote=True)
    strip = ""
    if spans is not None:
        bars = "".join(f'<rect x="{start:.2f}" y="0" width="{end - start:.2f}" height="1"/>' for start, end in spans)
        strip = (
            f'<svg class="activity" viewBox="0 0 {max(duration_s, 1e-3):.3f} 1" preserveAspectRatio="none" role="img" '
            f'aria-label="{title} speaks for {_speech_s(spans):.1f} s, listed below">{bars}</svg>'
        )
    ticks = "".join(f"<span>{format_time(duration_s * tick / NUM_TICKS)}</span>" for tick in range(NUM_TICKS + 1))
    speech = "" if spans is None else f"speaks for {_speech_s(spans):.1f} s"
    return f"""<li class="row track-{index % 7}">
<div class="head"><h2>{title}</h2><span class="file">{html.escape(file.name)}</span><span class="speech">{speech}</span>
<span class="buttons" hidden><button type="button" class="mute" aria-pressed="{is_mute}" aria-label="Mute {title}">Mute</button>
<button type="button" class="solo" aria-pressed="false" aria-label="Solo {title}">Solo</button></span></div>
<div class="lane"><img src="{_embed(draw_spectrogram(track.levels_db, loudest_db), "image/png")}" alt="Spectrogram of {name}">{strip}<span class="playhead" hidden></span></div>
<div class="ticks" aria-hidden="true">{ticks}</div>
<audio controls preload="auto" aria-label="{name}" src="{_embed(track.audio, "audio/mpeg")}"></audio>
</li>"""


def _format_warnings(warnings: list[str]) -> str:
    if not warnings:
        return "<p>None.</p>"
    return "<ul>" + "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings) + "</ul>"


def _format_segments(index: int, track: Path, spans: Segments) -> str:
    times = ", ".join(f"{start:.1f}–{end:.1f} s" for start, end in spans) or "silent"
    if len(spans) > MAX_LISTED:
        times = f"<details><summary>{len(spans)} segments</summary>{times}</details>"
    name = f'Track {index} <span class="file">{html.escape(track.name)}</span>'
    return f'<tr><th scope="row">{name}</th><td>{_speech_s(spans):.1f} s</td><td>{times}</td></tr>'


def _speech_s(spans: Segments) -> float:
    return sum(end - start for start, end in spans)


def _embed(content: bytes, media_type: str) -> str:
    """Bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def format_time(duration_s: float) -> str:
    """`7.1 s`, `2:05` or `1:02:05`"""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


__all__ = ["MAX_LISTED", "NUM_TICKS", "TEMPLATE", "ReportContent", "describe_settings", "format_time", "write_report"]
