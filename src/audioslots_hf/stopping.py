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
"""Signals that ask a process to stop are handled like Ctrl-C: temporary files go, and the exit status tells."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


# of a batch system, and of a terminal that closes; Windows has no second
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StoppedError(KeyboardInterrupt):
    """The process was asked to stop."""

    def __init__(self, number: int):
        super().__init__(number)
        # as a shell counts
        self.exit_status = 128 + number


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Raise a [`StoppedError`] on a signal within the block; signals that the caller ignores or handles are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    raise StoppedError(number)


__all__ = ["StoppedError", "stopping_on_signals"]
