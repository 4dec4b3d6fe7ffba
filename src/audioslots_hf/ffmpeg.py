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
"""Files that FFmpeg reads, in this process through PyAV: compressed formats, videos, and files without a true length."""

import errno
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .bounds import MAX_DECODING_S, check_form
from .mp3 import promised_samples
from .sound import Sound, TruncatedError


# The supported formats. Playlists (HLS, DASH, ffconcat, SDP, ...) are excluded, because they would open other files.
FORMATS = (
    "aa,aac,ac3,ac4,act,aea,aiff,amr,amrnb,amrwb,apac,ape,aptx,aptx_hd,asf,ast,au,avi,avr,bonk,caf,codec2,daud,dsf,dts,dtshd,dv,eac3,"
    "epaf,flac,flv,g722,g723_1,g726,g726le,g729,gsm,gxf,iamf,iff,ilbc,ircam,laf,lc3,loas,matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,mxf,nistsphere,nut,ogg,oma,osq,pvf,qcp,rm,rso,sbc,sds,shn,sox,tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,xwma"
)
# (format, codec) -> soundfile's name for files of this kind
SOUNDFILE_FORMATS = {
    ("mp3", "mp3"): ("MP3", "MPEG_LAYER_III"),
    ("ogg", "vorbis"): ("OGG", "VORBIS"),
    ("ogg", "opus"): ("OGG", "OPUS"),
    ("flac", "flac"): ("FLAC", "PCM_16"),
    **{
        (container, codec): (container.upper(), subtype)
        for container in ("wav", "w64")
        for codec, subtype in {
            "pcm_u8": "PCM_U8",
            "pcm_s16le": "PCM_16",
            "pcm_s24le": "PCM_24",
            "pcm_s32le": "PCM_32",
            "pcm_f32le": "FLOAT",
            "pcm_f64le": "DOUBLE",
            "pcm_mulaw": "ULAW",
            "pcm_alaw": "ALAW",
        }.items()
    },
}
# the headers of these formats declare the number of samples; others estimate it from the bit rate
COUNTED_FORMATS = ("w64", "mov,mp4,m4a,3gp,3g2,mj2")
# in seconds; an edit list removes the padding of the encoder
LENGTH_TOLERANCE_S = 0.25
# divisor of a sample, and offset that is subtracted first
SCALES = {"u8": (2**7, 2**7), "s16": (2**15, 0), "s32": (2**31, 0), "s64": (2**63, 0), "flt": (1, 0), "dbl": (1, 0)}


class TimedFile:
    """A file with a deadline for reading, so that no content keeps a decoder busy forever."""

    def __init__(self, file: BinaryIO, name: str):
        self.file, self.label = file, name
        # FFmpeg recognizes formats without a header by their suffix
        self.name = name.encode("utf-8", "replace").decode()
        self.tell = file.tell
        self.extend()

    def extend(self) -> None:
        """Restart the time limit."""
        self.deadline = time.monotonic() + MAX_DECODING_S

    def read(self, num_bytes: int) -> bytes:
        """The next bytes, or a `ValueError` after the deadline."""
        if time.monotonic() > self.deadline:
            raise ValueError(f"{self.label} cannot be decoded: it gave no samples for {MAX_DECODING_S} s.")
        return self.file.read(num_bytes)

    def seek(self, offset: int, whence: int) -> int:
        """Go to a place; a negative number, for FFmpeg an error, where a broken header names none."""
        try:
            return self.file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


class FfmpegSound(Sound):
    """
    A file that FFmpeg decodes: its best audio stream, to the end.

    Raises:
        `ValueError`: the file is not audio.
    """

    def __init__(self, file: BinaryIO, name: str, path: Path | None = None):
        super().__init__(file, name, path)
        self.av = _import_av()
        file.seek(0)
        promised = promised_samples(file)
        file.seek(0)
        self.timed = TimedFile(file, name)
        self.num_failed = self.num_decoded = 0
        try:
            self.container = self.av.open(self.timed, container_options={"format_whitelist": FORMATS}, io_open=_refuse)
        except (self.av.FFmpegError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name} cannot be read as audio: {describe(error)}") from error
        try:
            self._open_stream(promised)
        except (self.av.FFmpegError, ValueError) as error:
            self.container.close()
            raise ValueError(f"{name} cannot be read as audio: {describe(error)}") from error

    def _open_stream(self, promised: int | None) -> None:
        streams = self.container.streams.audio
        if not streams:
            raise ValueError("it holds no stream of audio.")
        self.stream = self.container.streams.best("audio") or streams[0]
        if self.stream.codec_context is None:
            raise ValueError("its codec is not known.")
        if len(streams) > 1:
            listed = "; ".join(_describe_stream(number, stream) for number, stream in enumerate(streams, 1))
            taken = list(streams).index(self.stream) + 1
            self.notes.append(f"holds {len(streams)} streams of audio ({listed}): number {taken} is taken.")
        self.frames = self._decode_frames()
        # probing may have left the rate of a later part in the decoder, which affects only the first frame
        self.head = list(islice(self.frames, 2))
        if not self.head:
            raise ValueError("it is empty, or broken: it holds no samples that can be decoded.")
        self.sampling_rate, self.layout = self.head[-1].sample_rate, self.head[-1].layout.name
        self.num_channels = self.head[-1].layout.nb_channels
        check_form(self.name, self.sampling_rate, self.num_channels)
        format_name, codec = self.container.format.name, self.stream.codec_context.name.removesuffix("float")
        self.file_format, self.subtype = SOUNDFILE_FORMATS.get((format_name, codec), (None, None))
        duration = self.stream.duration
        if duration is not None and self.stream.time_base is not None:
            self.expected_samples = round(duration * self.stream.time_base * self.sampling_rate)
        elif self.container.duration is not None:
            self.expected_samples = round(self.container.duration / 1e6 * self.sampling_rate)
        self.promised = promised if format_name == "mp3" else None
        if format_name in COUNTED_FORMATS and self.expected_samples is not None:
            self.promised = self.expected_samples - round(LENGTH_TOLERANCE_S * self.sampling_rate)

    def _decode_frames(self) -> Iterator[Any]:
        """The frames of the stream; undecodable packets are skipped, as in FFmpeg, and counted."""
        try:
            for packet in self.container.demux(self.stream):
                try:
                    frames = packet.decode()
                except self.av.EOFError:
                    return
                except (self.av.FFmpegError, self.av.PyAVCallbackError):
                    self.num_failed += 1
                    continue
                self.num_decoded += 1
                yield from frames
        except self.av.FFmpegError as error:
            if self.num_decoded == 0:
                raise
            raise ValueError(f"{self.name} breaks off: {describe(error)}") from error

    def decode(self, block_length: int) -> Iterator[np.ndarray]:
        num_samples, since = 0, 0
        for samples in self._convert():
            num_samples, since = num_samples + len(samples), since + len(samples)
            yield samples
            # ten seconds at most, or a block
            if since >= min(block_length, 10 * self.sampling_rate):
                self.timed.extend()
                since = 0
        if self.num_failed > self.num_decoded:
            raise ValueError(f"{self.name} is not audio: most of it cannot be decoded.")
        if self.promised is not None and num_samples < self.promised:
            promised = self.promised if self.container.format.name == "mp3" else self.expected_samples
            raise TruncatedError(
                f"{self.name} is truncated: its header promises {promised} samples, it holds {num_samples}."
            )
        if self.num_failed:
            self.notes.append(
                f"has packets that cannot be decoded, {self.num_failed} of {self.num_failed + self.num_decoded}: they are left out."
            )
        self.num_samples = num_samples

    def _convert(self) -> Iterator[np.ndarray]:
        """Every frame as float32 `(num_samples, num_channels)`, in the rate and the channels of the first."""
        resampler, resampled = None, None
        for number, frame in enumerate(chain(self.head, self.frames)):
            found = (frame.sample_rate if number else self.sampling_rate, frame.layout.name, frame.format.name)
            if found[:2] == (self.sampling_rate, self.layout):
                yield _to_samples(frame)
                continue
            if resampled is None:
                self.notes.append(
                    f"changes to {found[0]} Hz, {found[1]}: it is converted to {self.sampling_rate} Hz, {self.layout}."
                )
            if resampled != found:
                if resampler is not None:
                    yield from map(_to_samples, resampler.resample(None))
                resampler = self.av.AudioResampler(format="fltp", layout=self.layout, rate=self.sampling_rate)
                resampled = found
            frame.pts = None
            yield from map(_to_samples, resampler.resample(frame))
        if resampler is not None:
            yield from map(_to_samples, resampler.resample(None))

    def close(self) -> None:
        self.frames.close()
        self.container.close()


def _to_samples(frame: Any) -> np.ndarray:
    """A frame of any format -> float32 `(num_samples, num_channels)`."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    scale, offset = SCALES[frame.format.name.removesuffix("p")]
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    # the rounding of soundfile: 32-bit integers have more digits than float32
    return ((samples.astype(np.float64) - offset) / scale).astype(np.float32)


def _refuse(url: str, *_: Any) -> Any:
    """Refuse to open another file that the content refers to."""
    raise ValueError(f"it refers to another file ({url[:80]}), which is not opened.")


def describe(error: Exception) -> str:
    """An error as one line."""
    if getattr(error, "errno", None) == errno.EINVAL:
        # of a format that is not among those above
        return "it is no recording, or its format is not supported."
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def _describe_stream(number: int, stream: Any) -> str:
    """`2: aac, 6 channels, eng`."""
    context = stream.codec_context
    form = "unknown codec" if context is None else f"{context.name}, {context.channels} channels"
    language = stream.metadata.get("language", "und")
    return f"{number}: {form}" + ("" if language == "und" else f", {language}")


def _import_av() -> Any:
    """Import the library, or raise an `ImportError` that names the fix."""
    try:
        import av
    except ImportError as error:
        raise ImportError("Reading compressed audio and video needs PyAV: pip install av") from error
    return av


__all__ = [
    "COUNTED_FORMATS",
    "FORMATS",
    "FfmpegSound",
    "LENGTH_TOLERANCE_S",
    "SCALES",
    "SOUNDFILE_FORMATS",
    "TimedFile",
    "describe",
]
