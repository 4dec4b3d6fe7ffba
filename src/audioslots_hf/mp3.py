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
"""MP3 files that do not say how long they are, as streams and many recorders write them."""

from mmap import mmap
from typing import NamedTuple


# of layer III, in kbit/s, by whether it is MPEG-1
BIT_RATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# in hertz, by the two bits that name the version
SAMPLING_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
LAYER_3 = 1
MONO = 3
MAX_FRAME_BYTES = 1441


class Frame(NamedTuple):
    """What the four bytes at the head of a frame of layer III say (ISO 11172-3, 2.4.1.3)."""

    num_bytes: int
    sampling_rate: int
    # where the samples would begin
    data_start: int


def read_frame(content: bytes | mmap, start: int) -> Frame | None:
    """The frame that begins at a byte; none if there is none."""
    head = content[start : start + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] >> 5 != 7:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version not in SAMPLING_RATES or layer != LAYER_3 or bit_rate_index in (0, 15) or rate_index == 3:
        return None
    is_first_version, is_mono = version == 3, head[3] >> 6 == MONO
    rate, kbits = SAMPLING_RATES[version][rate_index], BIT_RATES[is_first_version][bit_rate_index]
    # 1152 samples of a frame are 144 bytes for every bit per sample
    num_bytes = (144 if is_first_version else 72) * 1000 * kbits // rate + padding
    side_bytes = (17 if is_mono else 32) if is_first_version else (9 if is_mono else 17)
    return Frame(num_bytes, rate, 4 + side_bytes)


def skip_tags(content: bytes | mmap) -> int:
    """Where the first frame may begin: after the ID3v2 tags."""
    start = 0
    while content[start : start + 3] == b"ID3":
        # four bytes of seven bits each
        size = 0
        for byte in content[start + 6 : start + 10]:
            size = size << 7 | byte
        start += 10 + size
    return start


def with_length(content: bytes | mmap) -> bytes | None:
    """
    An MP3 with the number of its frames in front, as an encoder that knows it puts it there ("Info").

    Decoders guess the length of one without it from the size of the file, which is wrong with a tag in front, and by far with a
    changing bit rate; what they have guessed too low, they do not decode.

    Returns:
        `bytes`, or `None` if the file says how long it is, or its frames do not follow one another to the end.
    """
    start = skip_tags(content)
    first = read_frame(content, start)
    if first is None:
        return None
    tag_start = start + first.data_start
    if content[tag_start : tag_start + 4] in (b"Xing", b"Info") or content[start + 36 : start + 40] == b"VBRI":
        return None
    num_frames, place, frame = 0, start, first
    # what goes on at another rate, or with more channels, no decoder goes on with
    while frame is not None and frame[1:] == first[1:] and place + frame.num_bytes <= len(content):
        num_frames, place = num_frames + 1, place + frame.num_bytes
        frame = read_frame(content, place)
    # at the end, a frame that was cut off or a tag; else what follows is no music, or has another form
    if len(content) - place > MAX_FRAME_BYTES and content[place : place + 4] != b"APET":
        return None
    info = b"Info" + (1).to_bytes(4, "big") + num_frames.to_bytes(4, "big")
    # without the checksum, which would not be right, and at the highest bit rate: the lowest has no room
    version, rates, channels = content[start + 1] | 1, content[start + 2] & 0b1100, content[start + 3]
    added = bytes([0xFF, version, 14 << 4 | rates, channels]) + bytes(first.data_start - 4) + info
    return content[:start] + added.ljust(read_frame(added, 0).num_bytes, b"\0") + content[start:]
