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
"""Choice of the library that reads a file to its true end, by the content of the file, not by its name."""

from io import SEEK_END
from typing import BinaryIO


HEAD_BYTES = 128
# marks of formats that libsndfile reads without loss and whose length it checks
EXACT_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"dns.", b"caff", b"NIST")
# the tag of a `fmt ` chunk that has its true tag elsewhere; libsndfile takes such floats in w64 for integers
EXTENSIBLE = b"\xfe\xff"
OGG_FIRST_PAGE, OGG_PAGE_BYTES = 2, 27
# a FLAC file begins with the mark and a block of 34 bytes, which may be the last one
FLAC_HEADS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
# in the `fmt ` chunk of a wav
MP3_TAGS = (0x50, 0x55)
# behind the samples of a wav that was appended to another
NO_CHUNKS = (b"RIFF", b"FORM", b"OggS", b"fLaC")
SEARCH_BYTES = 2**20


def file_size(file: BinaryIO) -> int:
    """Size of a file in bytes; keeps the position in the file."""
    place = file.tell()
    size = file.seek(0, SEEK_END)
    file.seek(place)
    return size


def read_at(file: BinaryIO, start: int, num_bytes: int) -> bytes:
    """Bytes of a file from a position."""
    file.seek(start)
    return file.read(num_bytes)


def is_exact(file: BinaryIO) -> bool:
    """Whether libsndfile reads a file completely; FFmpeg reads files with no or several lengths to their end."""
    head = read_at(file, 0, HEAD_BYTES)
    if head[:4] == b"riff":
        return EXTENSIBLE not in (head[64:66], head[88:90])
    if head[:4] == b"fLaC":
        # 36 bits; written to a pipe they are 0
        num_samples = int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
        return num_samples > 0 and not holds(file, FLAC_HEADS, start=4)
    if head[:4] == b"OggS":
        return _is_single_stream(file)
    return head.startswith(EXACT_MAGICS)


def is_mpeg(file: BinaryIO) -> bool:
    """Whether a file begins as an MP3 does: of those libsndfile only guesses the length."""
    head = read_at(file, 0, 3)
    return head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


def holds(file: BinaryIO, marks: tuple[bytes, ...], start: int) -> bool:
    """Whether a file has one of several marks of equal length at a position."""
    file.seek(start)
    tail = b""
    while block := file.read(SEARCH_BYTES):
        if any(mark in tail + block for mark in marks):
            return True
        tail = block[1 - len(marks[0]) :]
    return False


def _is_single_stream(file: BinaryIO) -> bool:
    """Whether all pages of an Ogg file are consecutive, and belong to one stream (RFC 3533, section 6)."""
    size, place, num_first_pages = file_size(file), 0, 0
    while place < size:
        page = read_at(file, place, OGG_PAGE_BYTES + 255)
        if page[:4] != b"OggS" or len(page) < OGG_PAGE_BYTES:
            return False
        num_segments = page[26]
        num_first_pages += page[5] & OGG_FIRST_PAGE > 0
        place += OGG_PAGE_BYTES + num_segments + sum(page[OGG_PAGE_BYTES : OGG_PAGE_BYTES + num_segments])
    return num_first_pages == 1


def check_wav(file: BinaryIO) -> list[str]:
    """Warnings about a wav with a wrong header whose samples are read nevertheless."""
    size, place, tag = file_size(file), 12, 0
    head = read_at(file, 0, 12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return []
    while place + 8 <= size:
        chunk = read_at(file, place, 10)
        num_bytes = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"fmt ":
            tag = int.from_bytes(chunk[8:10], "little")
        if chunk[:4] == b"data":
            return _describe_data(file, place + 8, num_bytes, tag, size)
        place += 8 + num_bytes + num_bytes % 2
    return []


def _describe_data(file: BinaryIO, start: int, num_bytes: int, tag: int, size: int) -> list[str]:
    """[`check_wav`] for samples with a start, a size and a format tag from the header, in a file of `size` bytes."""
    if num_bytes == 0 and size > start:
        return ["was not closed: its header says that it holds no samples. All that is there was read."]
    notes = (
        ["is an MP3 in a wav, of which the length is not known before: it was read to its end."]
        if tag in MP3_TAGS
        else []
    )
    end = start + num_bytes
    # samples of an odd number of bytes are filled up
    name = read_at(file, end + num_bytes % 2, 4)
    if size - end > 8 and (name in NO_CHUNKS or not _is_chunk_name(name)):
        notes.append(f"holds {size - end} bytes behind its samples that its header does not name: they were not read.")
    return notes


def _is_chunk_name(name: bytes) -> bool:
    """Whether four bytes may be the name of a chunk."""
    return len(name) == 4 and name.isascii() and name.decode("ascii").isprintable()


__all__ = [
    "EXACT_MAGICS",
    "EXTENSIBLE",
    "FLAC_HEADS",
    "HEAD_BYTES",
    "MP3_TAGS",
    "NO_CHUNKS",
    "OGG_FIRST_PAGE",
    "OGG_PAGE_BYTES",
    "SEARCH_BYTES",
    "check_wav",
    "file_size",
    "holds",
    "is_exact",
    "is_mpeg",
    "read_at",
]
