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
"""Measurement of time by activity."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar


Item = TypeVar("Item")


class Stopwatch:
    """Adds up `seconds` by activity, of the wall clock or of another clock."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock = clock
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Time a block, or every call of a decorated function."""
        started = self.clock()
        try:
            yield
        finally:
            self.seconds[activity] += self.clock() - started

    def waiting_for(self, items: Iterable[Item], activity: str) -> Iterator[Item]:
        """Yield the same items, and time the wait for each."""
        items = iter(items)
        while True:
            with self.measure(activity):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
