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
import re
import threading
import time
from collections.abc import Iterator

import pytest

from audioslots_hf import downloads
from audioslots_hf.downloads import download, hide_credentials, is_private, is_private_address, is_url, to_ascii


REDIRECTS = {"/to-file": "file:///etc/hostname", "/to-ftp": "ftp://127.0.0.1/a.wav", "/to-wav": "/a.wav"}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path in REDIRECTS:
            self.send_response(302)
            self.send_header("Location", REDIRECTS[self.path])
            self.end_headers()
            self.send_endlessly(b"and more")
            return
        if self.path == "/slow":
            self.send_endlessly(b"H", 0.01)
            return
        if self.path == "/slow-body":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self.send_endlessly(b"x", 0.01)
            return
        self.send_response(200)
        if self.path == "/short.wav":
            self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def send_endlessly(self, part: bytes, pause_s: float = 0.0):
        end = time.monotonic() + 10
        try:
            while time.monotonic() < end:
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(pause_s)
        except OSError:
            """The client has gone."""

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
    find_addresses = downloads.find_addresses
    known = {"localhost": {"8.8.8.8"}}
    monkeypatch.setattr(downloads, "find_addresses", lambda host: known.get(host) or find_addresses(host))
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


@pytest.mark.parametrize("path", ["/slow", "/slow-body"])
def test_a_server_that_sends_byte_after_byte_is_left_after_the_total_time(server, monkeypatch, path):
    monkeypatch.setattr(downloads, "MAX_DOWNLOAD_S", 0.3)
    began = time.monotonic()
    with pytest.raises(ValueError, match=re.escape(f"{path} cannot be downloaded: it takes more than 0.3 s.")):
        download(f"http://127.0.0.1:{server.server_port}{path}")
    # the server would go on for ten seconds
    assert time.monotonic() - began < 5


def test_a_redirect_to_a_name_that_moved_into_the_own_network_is_not_asked(server, monkeypatch):
    for name in ("is_private", "find_addresses"):
        monkeypatch.setattr(downloads, name, lambda host: set())
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setitem(REDIRECTS, "/moved", f"http://localhost:{server.server_port}/a.wav")
    with pytest.raises(ValueError, match="redirects to an address of a private network"):
        download(f"http://127.0.0.1:{server.server_port}/moved")
    assert [path for path, _ in server.asked] == ["/moved"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1"]
    + ["fe80::1%lo", "fd00::1", "64:ff9b::7f00:1", "2002:7f00:1::", "100.64.0.1", "224.0.0.1", "localhost"],
)
def test_every_way_to_write_a_private_address_is_known(host):
    assert is_private(host)


def test_public_addresses_are_public_and_a_host_with_both_is_not_trusted(server, monkeypatch):
    assert not any(map(is_private_address, ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")))
    monkeypatch.setattr(downloads, "find_addresses", lambda host: {"8.8.8.8", "127.0.0.1"})
    with pytest.raises(ValueError, match="redirects to an address of a private network"):
        download(f"http://127.0.0.1:{server.server_port}/to-wav")


def test_an_address_that_is_none_is_refused_in_one_sentence_without_its_password():
    for url in ("http://me:se/cret@host.org/a.wav", "http://host:port/a.wav", "http://[::1/a.wav", "http:///a.wav"):
        with pytest.raises(ValueError, match="http://.* (is no address|cannot be downloaded)") as info:
            download(url)
        assert "secret" not in str(info.value).replace("/", "") and "\n" not in str(info.value)


def test_messages_hold_no_credentials():
    assert hide_credentials("https://me:se@cret@host.org/a@b.wav") == "https://host.org/a@b.wav"
    assert hide_credentials("https://me:se/cret@host.org/a.wav") == "https://host.org/a.wav"
    assert hide_credentials("https://host.org:80/a@b.wav?token=x#y") == "https://host.org:80/a@b.wav?..."
    assert hide_credentials("https://[::1]:80/a.wav") == "https://[::1]:80/a.wav"
    assert hide_credentials("https://[::1]/a@b\nc.wav") == "https://[::1]/a@b?c.wav"
    assert to_ascii(downloads.urlsplit("https://me:secret@bücher.example/ü")) == "https://xn--bcher-kva.example/%C3%BC"
