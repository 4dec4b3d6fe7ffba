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
"""A page in the browser that separates recordings: drop or record, see who speaks when, play the tracks in step, download them."""

import html
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from .audio import open_audio
from .jobs import OutputChoices, SeparationJob
from .loading import load_separator
from .progress import Progress, SeparationCancelled
from .separation import separate_conversation, separate_file
from .shipped import DEFAULT_CHECKPOINT, list_checkpoints


# longer recordings are for the command, which needs no upload
MAX_RECORDING_S = 900
MAX_FILE_SIZE = "256mb"
# users who wait behind the one that is served
MAX_WAITING = 20
MAX_SPEAKERS = 6
# uploads and results are removed after an hour
CACHE_S = 3600
SPEAKERS = [
    ("find the number of people", "auto"),
    ("as many tracks as the model has", "tracks"),
    *((f"{number} {'person' if number == 1 else 'people'}", str(number)) for number in range(1, MAX_SPEAKERS + 1)),
]
EXAMPLE = Path(__file__).parent / "samples" / "two_voices.flac"


def require_gradio() -> None:
    """Raise an `ImportError` that names the fix, before any work is done."""
    # gradio reads this on import: the page reports nothing to anybody
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"The page needs gradio and matplotlib ({error}): pip install 'audioslots-hf[demo]'"
        ) from error


class Demo:
    """
    Separates the recordings of the page, one at a time.

    Args:
        device (`str`):
            Of the models.
    """

    def __init__(self, device: str):
        self.load = lru_cache(maxsize=2)(lambda model: load_separator(model, device=device))
        self.cancels: dict[str, threading.Event] = {}

    def enter(self, session: str) -> None:
        """Let a user wait for a separation, who may cancel from now on."""
        self.cancels[session] = threading.Event()

    def cancel(self, session: str) -> bool:
        """Stop the separation of a user -> whether it ran or waited."""
        event = self.cancels.get(session)
        if event is None or event.is_set():
            return False
        event.set()
        return True

    def leave(self, session: str) -> None:
        """Forget a user, whose separation stops."""
        self.cancel(session)
        self.cancels.pop(session, None)

    def separate(
        self, recording: str, model: str, speakers: str, session: str, on_progress: Callable[[float], None]
    ) -> Iterator[tuple[str, str, list[str]]]:
        """
        Yield one sentence, the page of the report and the files, which exist until the iterator is closed.

        Raises:
            `ValueError`, `OSError`: the recording cannot be separated.
            `SeparationCancelled`: its user cancelled it.
        """
        cancel = self.cancels.setdefault(session, threading.Event())
        try:
            yield from self._separate(Path(recording), model, speakers, on_progress, cancel)
        finally:
            # the user may wait for another one already
            if self.cancels.get(session) is cancel:
                del self.cancels[session]

    def _separate(
        self,
        recording: Path,
        model: str,
        speakers: str,
        on_progress: Callable[[float], None],
        cancel: threading.Event,
    ) -> Iterator[tuple[str, str, list[str]]]:
        with open_audio(recording) as audio:
            duration_s = audio.num_samples / audio.sampling_rate
        if duration_s > MAX_RECORDING_S:
            raise ValueError(
                f"The recording has {duration_s:.0f} seconds, and the page takes {MAX_RECORDING_S}: use `audioslots separate`."
            )
        pipeline = self.load(model)
        choices = OutputChoices(track_format="flac", report=True, rttm=speakers != "tracks", json=speakers != "tracks")
        with tempfile.TemporaryDirectory() as folder:
            job = SeparationJob(recording, Path(folder))
            if speakers == "tracks":
                separated = separate_file(job, pipeline.separator, choices, Progress(on_progress, cancel))
            else:
                number = speakers if speakers == "auto" else int(speakers)
                separator = pipeline.conversation_separator(number)
                separated = separate_conversation(job, separator, choices, Progress(on_progress, cancel, 2))
            files = [str(path) for path in separated.paths]
            num_tracks = sum("_source_" in path.name for path in separated.paths)
            tracks = f"{num_tracks} track{'' if num_tracks == 1 else 's'}" if num_tracks else "Nobody speaks: no track"
            yield f"{tracks} from {duration_s:.1f} seconds.", job.report_path.read_text("utf-8"), files


def frame_report(report: str) -> str:
    """The page of a report inside the page, as tall as its content."""
    fit = "this.style.height = this.contentDocument.documentElement.scrollHeight + 'px'"
    style = "width: 100%; height: 60rem; border: 0"
    # the page has a margin already
    report += "<style>main { padding: 0 }</style>"
    return f'<iframe title="Separated tracks" style="{style}" onload="{fit}" srcdoc="{html.escape(report)}"></iframe>'


def _add_controls(model: str) -> tuple[Any, ...]:
    """Recording, model, number of people, and the buttons that start and cancel, in the page that is being built."""
    import gradio

    with gradio.Row():
        # without gradio's button that shares a recording on the Hub
        recording = gradio.Audio(
            label="Recording", sources=["upload", "microphone"], type="filepath", buttons=["download"]
        )
        with gradio.Column():
            names = list(dict.fromkeys([model, *list_checkpoints()]))
            chosen = gradio.Dropdown(names, value=model, label="Model")
            speakers = gradio.Dropdown(SPEAKERS, value="auto", label="People who speak")
            with gradio.Row():
                start = gradio.Button("Separate", variant="primary", min_width=120)
                stop = gradio.Button("Cancel", min_width=120)
    return recording, chosen, speakers, start, stop


def _make_handlers(demo: Demo) -> tuple[Callable, ...]:
    """The handlers of a user who separates, begins to wait, cancels and leaves."""
    import gradio

    def separate(
        recording: str | None,
        model: str,
        speakers: str,
        request: gradio.Request,
        progress: gradio.Progress = gradio.Progress(),  # noqa: B008, the way in which gradio passes it
    ) -> Iterator[tuple[str, str, gradio.File]]:
        if recording is None:
            demo.leave(request.session_hash)
            raise gradio.Error("There is no recording: drop a file, or record one.", print_exception=False)
        try:
            for sentence, report, files in demo.separate(
                recording, model, speakers, request.session_hash, lambda done: progress(done, "Separating")
            ):
                yield sentence, frame_report(report), gradio.File(files, visible=True)
        except SeparationCancelled:
            yield "Cancelled.", "", gradio.File(None, visible=False)
        except (ValueError, OSError) as error:
            message = str(error).replace(recording, Path(recording).name)
            raise gradio.Error(html.escape(message), print_exception=False) from error

    def enter(request: gradio.Request) -> None:
        demo.enter(request.session_hash)

    def cancel(request: gradio.Request) -> Any:
        was_busy = demo.cancel(request.session_hash)
        return ("Cancelled.", "", gradio.File(None, visible=False)) if was_busy else [gradio.skip()] * 3

    def leave(request: gradio.Request) -> None:
        demo.leave(request.session_hash)

    return separate, enter, cancel, leave


def build_demo(model: str | None = None, device: str = "cpu") -> Any:
    """
    Build the page.

    Args:
        model (`str`, *optional*):
            The model that is chosen at first: a shipped checkpoint, a folder or a repository on the Hub.
        device (`str`, *optional*, defaults to `"cpu"`):
            Of the models.

    Returns:
        `gradio.Blocks`, for [`launch`].
    """
    require_gradio()
    import gradio

    demo, model = Demo(device), model or DEFAULT_CHECKPOINT
    # fails here, and not for the first user
    demo.load(model)

    separate, enter, cancel, leave = _make_handlers(demo)
    with gradio.Blocks(title="Separate voices", analytics_enabled=False, delete_cache=(CACHE_S, CACHE_S)) as page:
        gradio.Markdown("# Separate voices\nA recording of several voices in, one track per voice out.")
        recording, chosen, speakers, start, stop = _add_controls(model)
        gradio.Examples([[str(EXAMPLE)]], [recording], label="An example: two readers at once")
        # as high as the bar of the progress, or the place in the queue, that is shown there
        status = gradio.Markdown(min_height=80)
        report = gradio.HTML()
        files = gradio.File(label="Downloads", file_count="multiple", interactive=False, visible=False)
        results = [status, report, files]
        separated = start.click(enter, queue=False).then(
            separate, [recording, chosen, speakers], results, concurrency_limit=1, show_progress_on=status
        )
        # also of a user who waits
        stop.click(cancel, None, results, queue=False, cancels=[separated])
        page.unload(leave)
    return page.queue(max_size=MAX_WAITING)


def launch(page: Any, host: str | None = "127.0.0.1", port: int | None = None, wait: bool = True) -> str:
    """
    Serve the page.

    Args:
        page (`gradio.Blocks`):
            From [`build_demo`].
        host (`str`, *optional*, defaults to `"127.0.0.1"`):
            Address to listen on. `None` leaves it to the environment.
        port (`int`, *optional*):
            By default the first free one from 7860 on.
        wait (`bool`, *optional*, defaults to `True`):
            Whether to serve until Ctrl-C.

    Returns:
        The address of the page.
    """
    from gradio.themes import Base

    # fonts of the system: others would be loaded from the network
    theme = Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    # gradio would shorten the names of two tracks to the same letters
    css = ".filename {display: block !important} .filename .stem {white-space: normal !important; overflow-wrap: anywhere}"
    options = {"share": False, "quiet": True, "ssr_mode": False, "footer_links": [], "max_file_size": MAX_FILE_SIZE}
    _, address, _ = page.launch(
        server_name=host, server_port=port, theme=theme, css=css, prevent_thread_lock=True, **options
    )
    if wait:
        print(f"The page is at {address}; Ctrl-C ends it.", flush=True)
        page.block_thread()
    return address


__all__ = [
    "CACHE_S",
    "EXAMPLE",
    "MAX_FILE_SIZE",
    "MAX_RECORDING_S",
    "MAX_SPEAKERS",
    "MAX_WAITING",
    "SPEAKERS",
    "Demo",
    "build_demo",
    "frame_report",
    "launch",
    "require_gradio",
]
