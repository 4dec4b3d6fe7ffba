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
"""Suffixes of audio files, which select the files of a folder and name the tracks."""

# soundfile's name of a format -> suffixes; tracks get the first one
FORMAT_SUFFIXES = {
    "WAV": (".wav", ".wave"),
    "WAVEX": (".wav", ".wave"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3",),
    "AIFF": (".aiff", ".aif", ".aifc"),
    "AU": (".au", ".snd"),
    "CAF": (".caf",),
    "W64": (".w64",),
    "RF64": (".rf64", ".wav"),
    "NIST": (".sph",),
}
# formats of tracks that a user may ask for -> suffix, soundfile's format, and its subtype for an input of another kind
TRACK_FORMATS = {
    "wav": (".wav", "WAV", "PCM_16"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "ogg": (".ogg", "OGG", "VORBIS"),
    "opus": (".opus", "OGG", "OPUS"),
    "mp3": (".mp3", "MP3", "MPEG_LAYER_III"),
}
SOUNDFILE_SUFFIXES = tuple(dict.fromkeys(suffix for suffixes in FORMAT_SUFFIXES.values() for suffix in suffixes))
FFMPEG_SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".aac", ".webm", ".mkv", ".mka", ".wma", ".asf", ".avi"),
    *(
        ".flv",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".m2ts",
        ".ogv",
        ".spx",
        ".mp2",
        ".amr",
        ".awb",
        ".gsm",
        ".ac3",
        ".eac3",
    ),
    *(".dts", ".ape", ".wv", ".tta", ".tak", ".mpc", ".qcp", ".dsf", ".shn", ".voc", ".bwf"),
)
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES + FFMPEG_SUFFIXES


__all__ = ["AUDIO_SUFFIXES", "FFMPEG_SUFFIXES", "FORMAT_SUFFIXES", "SOUNDFILE_SUFFIXES", "TRACK_FORMATS"]
