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
Conversations of people whom no model heard in training: whether each voice has one track, from the first word to the last.

Lists of simulated conversations (`training/data/conversations.py`) of 1, 2 and 3 voices, 60 s and 5 min, with an overlap of
0, 10, 20 and 40 %, go through the pipeline as a user calls it. `--root` holds the folders librispeech, speechocean762 and
prompts, as `training/metadata/README.md` says how to get them; speech that is not there is left out. Each score is the mean
over the recordings of a list, as `training/evaluation/conversation_scores.py` defines it:

si_sdri: SI-SDR improvement in dB over the whole recording, best order, 0 for a voice without a track (null of one voice);
si_sdr: the SI-SDR itself, at most 60 dB; own_track: share of the half-seconds with one voice alone in which its track is
louder than each other by 6 dB; swaps_per_minute: changes of the track on which a voice that is alone is loudest by 6 dB;
silence_db: level of a track while its voice is silent, relative to its level while it speaks; count_accuracy: share of the
recordings with as many tracks that are active for a second as people speak; missed and false: voices without a track, and
audible tracks without a voice, in a recording; der: diarization error rate, overlaps included,
no collar; real_time_factor: seconds of computing for a second of audio.

`--panning` gives each voice its own level difference between two channels, and the means of the channels are scored; with `--channels mix`
only the mean is heard.

With `--num-speakers outputs`, the activity of a track is told by its energy.

`--output` adds each list to a file of several runs, whose tables `python -m training.publish tables FILE` prints.

`--truth` puts the truth in the place of one part of the separation, a row of the table for each: `none`; `clusters`, the mean embedding of
each voice is that of the estimates that are truly its own; `voices`, so is the voice of each estimate in each fifth of a second, too;
`activity`, the frames in which each voice speaks; `both`, voices and activity; `separation`, the estimates of a chunk are its voices. All
rows have the same estimates, so only the first real-time factor of a list means something.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from audioslots_hf import AudioSeparationPipeline, load_separator
from audioslots_hf.command_line import parse_count
from audioslots_hf.jobs import make_folder
from audioslots_hf.resampling import resample
from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from audioslots_hf.speakers import AUTO, OUTPUTS
from training.arguments import SpeechArguments
from training.benchmark.conversation_truth import TRUTHS, TrueConversationSeparator
from training.data.activity import FRAMES_PER_S, fill_frames
from training.data.conversations import Conversation, ConversationSimulator, ConversationStyle
from training.data.rooms import require_pyroomacoustics
from training.data.speech import load_speech
from training.evaluation.conversation_scores import find_track_activity, score_conversation
from training.evaluation.subject import hash_model, name_run, naming_model
from training.reporting.conversations import (
    SCORES,
    VALIDATION,
    add_conversations,
    format_scores,
    read_conversations,
)
from training.reporting.rttm import TRACKS_RTTM, TRUTH_RTTM, add_rttm, format_rttm
from training.settings import SettingsError


SAMPLING_RATE = 16000
METADATA = Path(__file__).parents[1] / "metadata"
SEED = 72
# in place of a number of people: as many as speak in the recordings of a list
TRUE = "true"


@dataclass(frozen=True)
class SpeechList:
    """Speech of people nobody trains on: a folder below `--root`, and the csv of the utterances in it."""

    folder: str
    csv: str


SPEECH = {
    "test-other": SpeechList("librispeech", "librispeech_test.csv"),
    "speechocean762": SpeechList("speechocean762", "speechocean762_test.csv"),
    "prompts": SpeechList("prompts/usr/share/asterisk/sounds", "prompts_speech.csv"),
    "librispeech-valid": SpeechList("librispeech", "librispeech_valid.csv"),
    "speechocean762-valid": SpeechList("speechocean762", "speechocean762_valid.csv"),
}


@dataclass(frozen=True)
class ConversationList:
    """Conversations of one kind, by their index."""

    speech: str
    style: ConversationStyle

    def __str__(self) -> str:
        voices = "1 voice" if self.style.num_voices == 1 else f"{self.style.num_voices} voices"
        room = f", room {self.style.rt60_s:g} s" if self.style.rt60_s else ""
        panning = f", panned by {self.style.panning_db:g} dB" if self.style.panning_db else ""
        return f"{self.speech}, {voices}, {self.style.duration_s:g} s, overlap {100 * self.style.overlap:g} %{room}{panning}"


def plan(options: argparse.Namespace) -> list[ConversationList]:
    """
    The lists to run, the most telling one first in each speech.

    Raises:
        `SettingsError`: there is none of the speech, or not the one that was asked for.
    """
    if options.quick:
        style = ConversationStyle(rt60_s=options.rt60[0], panning_db=options.panning[0])
        return [ConversationList(name, style) for name in find_speech(options)[:1]]
    styles = [
        ConversationStyle(num_voices, duration_s, overlap / 100, rt60_s, panning_db)
        for duration_s in options.durations
        for num_voices in options.voices
        for overlap in options.overlaps
        for rt60_s in options.rt60
        for panning_db in options.panning
        # one voice has nothing to overlap with
        if num_voices > 1 or overlap == 0
    ]
    if not styles:
        raise SettingsError("--voices 1 needs --overlaps 0: one voice has nothing to overlap with.")
    return [ConversationList(name, style) for name in find_speech(options) for style in styles]


def find_speech(options: argparse.Namespace) -> list[str]:
    """Names of the speech that lies below the root; that of validation speakers, on whom thresholds are chosen, only if asked for."""
    found = [name for name, speech in SPEECH.items() if (options.root / speech.folder).is_dir()]
    if missing := [name for name in options.speech or [] if name not in found]:
        raise SettingsError(f"{options.root / SPEECH[missing[0]].folder} is no folder: {missing[0]} belongs there.")
    if not found:
        folders = ", ".join(dict.fromkeys(speech.folder for speech in SPEECH.values()))
        raise SettingsError(f"--root {options.root} holds none of {folders}.")
    return options.speech or [name for name in found if not name.endswith(VALIDATION)]


def separate(
    separator: AudioSeparationPipeline,
    recording: np.ndarray,
    num_speakers: int | str,
    **options: int | str,
) -> tuple[np.ndarray, np.ndarray | None]:
    """
    Tracks (num_tracks, num_samples), the means of their channels, and, where people are told apart, their activity (num_tracks, num_frames).

    The recording has shape (num_channels, num_samples); further options are those of the pipeline.
    """
    options |= {"num_speakers": num_speakers, "show_progress": False}
    sources = separator(recording, sampling_rate=SAMPLING_RATE, **options)
    num_samples = recording.shape[1]
    tracks = [np.reshape(source["audio"], (-1, num_samples)).mean(axis=0) for source in sources]
    tracks = np.array(tracks, np.float32).reshape(len(sources), num_samples)
    # segments of outputs are no claim about people
    if not sources or num_speakers == OUTPUTS:
        return tracks, None
    return tracks, stack_segments([source["segments"] for source in sources], num_samples)


def separate_online(
    separator: AudioSeparationPipeline, recording: np.ndarray, num_speakers: int | str
) -> tuple[np.ndarray, np.ndarray]:
    """As [`separate`] does, in blocks of 0.1 s, as a sound card gives them; tracks on which nobody spoke are left out."""
    conversation = separator.online_conversation(num_speakers)
    waveforms = torch.from_numpy(recording)
    blocks = resample(waveforms, SAMPLING_RATE, conversation.sampling_rate).split(conversation.sampling_rate // 10, -1)
    tracks = torch.cat(list(conversation.stream(blocks)), dim=-1).mean(dim=0)
    tracks = resample(tracks, conversation.sampling_rate, SAMPLING_RATE)[:, : recording.shape[1]]
    activity = stack_segments(conversation.segments, recording.shape[1])
    heard = activity.any(axis=1)
    return tracks.numpy()[heard], activity[heard]


def separate_truly(separator: TrueConversationSeparator, truth: str) -> tuple[np.ndarray, np.ndarray]:
    """As [`separate`] does, with the truth in the place of a part."""
    separator.truths = TRUTHS[truth]
    tracks, plan = separator.separate(separator.mixture)
    tracks = resample(tracks[0], separator.sampling_rate, SAMPLING_RATE).numpy()
    return tracks, stack_segments(plan.segments, tracks.shape[1])


def stack_segments(segments: list[list[tuple[float, float]]], num_samples: int) -> np.ndarray:
    """Segments of several tracks -> bool (num_tracks, num_frames)."""
    return fill_frames(segments, num_samples * FRAMES_PER_S // SAMPLING_RATE)


def measure(
    separate: Callable[[], tuple[np.ndarray, np.ndarray | None]], conversation: Conversation
) -> tuple[dict[str, Any], np.ndarray]:
    """The scores of one recording, its seconds of computing among them, and the activity of its tracks, (num_tracks, num_frames)."""
    mixture = conversation.mixture
    started = time.perf_counter()
    tracks, activity = separate()
    seconds = time.perf_counter() - started
    if activity is None:
        activity = find_track_activity(tracks, mixture, SAMPLING_RATE)
    scores = score_conversation(tracks, conversation.references, conversation.active, SAMPLING_RATE, activity)
    return {**asdict(scores), "real_time_factor": seconds * SAMPLING_RATE / len(mixture)}, activity


def plan_forms(
    pipeline: AudioSeparationPipeline, conversation: Conversation, options: argparse.Namespace
) -> dict[str, Callable[[], tuple[np.ndarray, np.ndarray | None]]]:
    """The function that separates a recording, for each row of its list in the table, by the end of the name of the row."""
    num_speakers, recording = options.num_speakers, conversation.recording
    if num_speakers == TRUE:
        num_speakers = len(conversation.references)
    if options.truth:
        number = None if num_speakers == AUTO else num_speakers
        separator = TrueConversationSeparator(pipeline, conversation, SAMPLING_RATE, number)
        return {f", truth: {truth}": partial(separate_truly, separator, truth) for truth in options.truth}
    if options.online:
        heard = recording.mean(axis=0, keepdims=True) if options.channels == "mix" else recording
        return {"": partial(separate_online, pipeline, heard, num_speakers)}
    chosen = {} if options.passes == 1 else {"passes": options.passes}
    if options.channels != "each":
        chosen["channels"] = options.channels
    return {"": partial(separate, pipeline, recording, num_speakers, **chosen)}


def summarize(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Means over recordings, of those for which a score is defined."""
    summary = {}
    for name in rows[0]:
        values = [float(row[name]) for row in rows if row[name] is not None]
        summary["count_accuracy" if name == "count_is_right" else name] = float(np.mean(values)) if values else None
    return summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", type=Path, required=True, help="folder with librispeech, speechocean762, prompts")
    parser.add_argument("--model", help="name, folder or repository (default: the shipped default)")
    parser.add_argument("--device", help="where the model computes, for instance cuda (default: as the pipeline does)")
    parser.add_argument("--speech", nargs="+", choices=SPEECH, help="(default: what is there)")
    parser.add_argument("--voices", type=int, nargs="+", default=[2, 3, 1], help="(default: 2 3 1)")
    parser.add_argument("--durations", type=float, nargs="+", default=[60, 300], help="in seconds (default: 60 300)")
    parser.add_argument(
        "--overlaps", type=float, nargs="+", default=[20, 0, 10, 40], help="in percent (default: 20 0 10 40)"
    )
    parser.add_argument(
        "--rt60",
        type=float,
        nargs="+",
        default=[0.0],
        help="reverberation times in seconds, 0 for no room (default: 0)",
    )
    parser.add_argument(
        "--panning",
        type=float,
        nargs="+",
        default=[0.0],
        metavar="DB",
        help="highest level difference of a voice between two channels in dB, 0 for one channel (default: 0)",
    )
    parser.add_argument(
        "--channels",
        choices=["each", "mix"],
        default="each",
        help="of panned voices: separate each, or their mean, in which no panning is heard (default: each)",
    )
    parser.add_argument("--recordings", type=int, default=4, help="number of each list (default: 4)")
    parser.add_argument(
        "--num-speakers",
        type=partial(parse_count, words=(AUTO, OUTPUTS, TRUE)),
        default=AUTO,
        help="passed to the pipeline: a number, auto, outputs, or true for that of each list (default: auto)",
    )
    parser.add_argument("--passes", type=int, default=1, help="of the model, passed to the pipeline (default: 1)")
    parser.add_argument(
        "--online", action="store_true", help="separate as if the recording went on: needs no second pass"
    )
    parser.add_argument("--truth", nargs="+", choices=TRUTHS, help="parts in whose place the truth is put")
    parser.add_argument("--quick", action="store_true", help="two voices, 60 s, 20 %% alone")
    parser.add_argument(
        "--rttm",
        type=Path,
        metavar="DIR",
        help="also write who speaks when, and what the tracks say, as truth.rttm and tracks.rttm, which training.report draws",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="JSON of several runs to which each list is added; replaces its own",
    )


def check(options: argparse.Namespace) -> None:
    """
    Raise an error about options that do not fit, before any work.

    Raises:
        `SettingsError`: they do not. `ImportError`: a package is missing. `OSError`: an output folder cannot be used.
    """
    if any(options.rt60):
        require_pyroomacoustics()
    if isinstance(options.num_speakers, int) and options.num_speakers < 1:
        raise SettingsError(f"--num-speakers is {options.num_speakers}: it must be at least 1.")
    if options.recordings < 1:
        raise SettingsError(f"--recordings is {options.recordings}: it must be at least 1.")
    if (options.truth or options.online) and options.num_speakers == OUTPUTS:
        raise SettingsError("--num-speakers outputs tells no people apart, as --truth and --online do: leave it out.")
    if options.truth and options.online:
        raise SettingsError("--truth is about the two passes over a file: leave out --online.")
    if options.truth and any(options.panning):
        raise SettingsError("--truth cannot be combined with --panning: it is about recordings of one channel.")
    if options.channels != "each" and not all(options.panning):
        raise SettingsError(f"--channels {options.channels} needs --panning above 0: without it there is one channel.")
    if options.passes != 1 and (options.truth or options.online):
        raise SettingsError(f"--passes {options.passes} cannot be combined with --truth or --online.")
    if options.rttm is not None:
        make_folder(options.rttm)
    if options.output is not None:
        if options.output.is_dir():
            raise SettingsError(f"--output {options.output} is a folder: name a file.")
        make_folder(options.output.parent)
        if options.output.exists():
            read_conversations(options.output)


def describe_run(options: argparse.Namespace) -> dict[str, Any]:
    """The model, its weights, and the options on which the scores of a list depend."""
    return {
        "model": name_run(options.model or DEFAULT_CHECKPOINT),
        "weights": {"sha256": hash_model(options.model)},
        "num_speakers": options.num_speakers,
        "online": options.online,
        "passes": options.passes,
        "channels": options.channels,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Print a table of the means by list, and return them."""
    lists = plan(options)
    check(options)
    with naming_model():
        separator = load_separator(options.model, device=options.device)
    description = describe_run(options)
    results: dict[str, dict[str, float | None]] = {}
    speech: dict[str, list] = {}
    with tqdm(total=len(lists) * options.recordings, desc="Conversations", unit="recording", file=sys.stderr) as bar:
        for kind in lists:
            if kind.speech not in speech:
                source = SPEECH[kind.speech]
                folder = SpeechArguments(str(options.root / source.folder), str(METADATA / source.csv))
                speech[kind.speech] = load_speech(folder, SAMPLING_RATE, show_progress=False)
            simulator = ConversationSimulator(speech[kind.speech], SAMPLING_RATE, kind.style, SEED)
            rows: dict[str, list[dict[str, Any]]] = {}
            truth: dict[str, str] = {}
            tracks: dict[str, str] = {}
            for index in range(options.recordings):
                conversation = simulator[index]
                for form, separate_by_form in plan_forms(separator, conversation, options).items():
                    scores, activity = measure(separate_by_form, conversation)
                    rows.setdefault(f"{kind}{form}", []).append(scores)
                    name = f"{kind}{form}, recording {index}"
                    truth[name] = format_rttm(name, "voice", conversation.active)
                    tracks[name] = format_rttm(name, "track", activity)
                bar.update()
            found = {name: {"num_recordings": len(scores)} | summarize(scores) for name, scores in rows.items()}
            for name, summary in found.items():
                print_row(name, summary, is_first=not results)
                results[name] = summary
            if options.rttm is not None:
                add_rttm(options.rttm / TRUTH_RTTM, truth)
                add_rttm(options.rttm / TRACKS_RTTM, tracks)
            if options.output is not None:
                add_conversations(options.output, description | {"lists": found})
    return description | {"lists": results}


def print_row(name: str, summary: dict[str, float | None], is_first: bool) -> None:
    """A line of the table, the head before the first."""
    names = [name for name in SCORES if name in summary]
    if is_first:
        tqdm.write(f"| list | {' | '.join(SCORES[name][0] for name in names)} |\n|{' --- |' * (len(names) + 1)}")
    tqdm.write(f"| {name} | {' | '.join(format_scores(summary, names))} |")
