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
"""Length of an MP3, from its first frames."""

from typing import BinaryIO, NamedTuple

from .containers import file_size, read_at


# bit rates of layer III in kbit/s, by whether it is MPEG-1
BIT_RATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# sampling rates in hertz, by the two version bits
SAMPLING_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
LAYER_3 = 1
MONO = 3
MAX_FRAME_BYTES = 1441
# flags of the tag `Xing` (or `Info`): it has the number of frames, and of bytes
HAS_NUM_FRAMES, HAS_NUM_BYTES = 1, 2
# a tag at the end of a file
ID3V1_BYTES = 128


class Frame(NamedTuple):
    """Fields of the four header bytes of a layer III frame (ISO 11172-3, 2.4.1.3)."""

    num_bytes: int
    num_samples: int
    # offset of the samples
    data_start: int


def read_frame(content: bytes, start: int = 0) -> Frame | None:
    """The frame at a byte, or `None`."""
    head = content[start : start + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] >> 5 != 7:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version not in SAMPLING_RATES or layer != LAYER_3 or bit_rate_index in (0, 15) or rate_index == 3:
        return None
    is_first_version, is_mono = version == 3, head[3] >> 6 == MONO
    rate, kbits = SAMPLING_RATES[version][rate_index], BIT_RATES[is_first_version][bit_rate_index]
    num_samples = 1152 if is_first_version else 576
    side_bytes = (17 if is_mono else 32) if is_first_version else (9 if is_mono else 17)
    return Frame(num_samples // 8 * 1000 * kbits // rate + padding, num_samples, 4 + side_bytes)


def skip_tags(file: BinaryIO) -> int:
    """Offset after the ID3v2 tags, where the first frame may start."""
    start = 0
    while (head := read_at(file, start, 10))[:3] == b"ID3":
        # four bytes with seven bits each
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 127
        start += 10 + size
    return start


def _read_tag(file: BinaryIO, start: int) -> tuple[bytes, int] | None:
    """The tag `Xing` (or `Info`) in a frame, if it counts the frames, and the number of samples of each frame."""
    content = read_at(file, start, MAX_FRAME_BYTES)
    frame = read_frame(content)
    if frame is None:
        return None
    tag = content[frame.data_start :]
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 16 or not tag[7] & HAS_NUM_FRAMES:
        return None
    return tag, frame.num_samples


def is_counted(file: BinaryIO) -> bool:
    """Whether an MP3 declares its number of samples and ends where it says: nothing is missing, and nothing was appended."""
    start = skip_tags(file)
    found = _read_tag(file, start)
    if found is None or not found[0][7] & HAS_NUM_BYTES:
        return False
    end = start + int.from_bytes(found[0][12:16], "big")
    rest = read_at(file, end, ID3V1_BYTES + 1) if end <= file_size(file) else None
    return rest == b"" or (rest is not None and rest[:3] == b"TAG" and len(rest) == ID3V1_BYTES)


def promised_samples(file: BinaryIO) -> int | None:
    """
    The declared number of samples of an MP3, or `None`.

    Encoders can declare it in a first frame without sound, with the number of frames, and the numbers of padding samples at the
    start and the end.
    """
    found = _read_tag(file, skip_tags(file))
    if found is None:
        return None
    tag, frame_length = found
    num_samples = int.from_bytes(tag[8:12], "big") * frame_length
    # after flags, numbers of frames and bytes, 100 seek points and quality: the name of the encoder; at its 21st byte, 12 bits each
    encoder = tag[8 + 4 * bin(tag[7] & 0b1011).count("1") + (100 if tag[7] & 0b100 else 0) :]
    added = int.from_bytes(encoder[21:24], "big")
    return max(0, num_samples - (added >> 12) - (added & 0xFFF))


__all__ = [
    "BIT_RATES",
    "Frame",
    "HAS_NUM_BYTES",
    "HAS_NUM_FRAMES",
    "ID3V1_BYTES",
    "LAYER_3",
    "MAX_FRAME_BYTES",
    "MONO",
    "SAMPLING_RATES",
    "is_counted",
    "promised_samples",
    "read_frame",
    "skip_tags",
]
