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
import http.server
import threading
from collections.abc import Iterator

import pytest

from audioslots_hf import downloads
from audioslots_hf.downloads import download, hide_credentials, is_url, to_ascii


REDIRECTS = {"/to-file": "file:///etc/hostname", "/to-ftp": "ftp://127.0.0.1/a.wav", "/to-wav": "/a.wav"}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path in REDIRECTS:
            self.send_response(302)
            self.send_header("Location", REDIRECTS[self.path])
            self.end_headers()
            return
        self.send_response(200)
        if self.path == "/short.wav":
            self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_address_is_downloaded_whatever_its_letters_and_credentials(server):
    port = server.server_port
    for url in (
        f"HTTP://127.0.0.1:{port}/a.wav",
        f"http://localhost:{port}/äö ü.wav?q=ß",
        f"http://127.0.0.1:{port}/to-wav",
    ):
        assert is_url(url) and download(url) == b"x" * 1000
    assert ("/%C3%A4%C3%B6%20%C3%BC.wav?q=%C3%9F", None) in server.asked
    assert download(f"http://me:p%40ss@127.0.0.1:{port}/to-wav") == b"x" * 1000
    # base64 of me:p@ss, to the first address alone
    assert server.asked[-2:] == [("/to-wav", "Basic bWU6cEBzcw=="), ("/a.wav", None)]


@pytest.mark.parametrize(
    "path, message",
    [("/to-file", "not allowed"), ("/to-ftp", "redirects to ftp"), ("/short.wav", "4,000 bytes")],
)
def test_what_leads_elsewhere_or_breaks_off_is_refused(server, path, message):
    with pytest.raises(
        ValueError, match=f"http://127.0.0.1:{server.server_port}{path} cannot be downloaded: .*{message}"
    ):
        download(f"http://me:secret@127.0.0.1:{server.server_port}{path}")


def test_a_public_address_does_not_lead_into_the_own_network(server, monkeypatch):
    is_private = downloads.is_private
    monkeypatch.setattr(downloads, "is_private", lambda host: host == "127.0.0.1" and is_private(host))
    with pytest.raises(ValueError, match="redirects to an address of a private network"):
        REDIRECTS["/inside"] = f"http://127.0.0.1:{server.server_port}/a.wav"
        download(f"http://localhost:{server.server_port}/inside")
    assert [path for path, _ in server.asked] == ["/inside"]


@pytest.mark.parametrize(
    "name, value, message",
    [("MAX_DOWNLOAD_BYTES", 999, "more than 999 bytes"), ("MAX_DOWNLOAD_S", -1, "takes more than")],
)
def test_size_and_time_are_bounded(server, monkeypatch, name, value, message):
    monkeypatch.setattr(downloads, name, value)
    with pytest.raises(ValueError, match=message):
        download(f"http://127.0.0.1:{server.server_port}/a.wav")


def test_messages_hold_no_credentials():
    assert hide_credentials("https://me:se@cret@host.org/a@b.wav") == "https://host.org/a@b.wav"
    assert to_ascii(downloads.urlsplit("https://me:secret@bücher.example/ü")) == "https://xn--bcher-kva.example/%C3%BC"
