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
"""Memory allocator settings for processes that this project starts: commands, training runs, benchmarks."""

import ctypes
import sys


# of malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """
    Make the allocator keep freed memory for the next tensor instead of returning it to the system.

    By default glibc maps every tensor of several megabytes afresh, and the system zeroes it page by page. This takes a third
    to a half of the time of a model that passes over such tensors only a few times. The setting affects the whole process, so
    a library must not change it on import.

    Returns:
        Whether this system's allocator has such a setting.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    largest = 2**31 - 1
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: largest, M_TOP_PAD: 2**29}
    return all(libc.mallopt(option, value) == 1 for option, value in options.items())


__all__ = ["M_MMAP_MAX", "M_TOP_PAD", "M_TRIM_THRESHOLD", "keep_freed_memory"]
