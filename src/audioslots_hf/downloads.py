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
"""Recordings on the web, downloaded within bounds on size, time and redirects."""

import base64
import http.client
import ipaddress
import socket
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit


# of one answer of the server
DOWNLOAD_TIMEOUT_S = 30
MAX_DOWNLOAD_S = 600
MAX_DOWNLOAD_BYTES = 2**30
PART_BYTES = 2**20
SCHEMES = ("http", "https")


def is_url(text: str) -> bool:
    """Whether a text is the address of a recording, not a path."""
    return text.lower().startswith(("http://", "https://"))


def hide_credentials(url: str) -> str:
    """An address for messages, without user name and password."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def to_ascii(parts: SplitResult) -> str:
    """An address as HTTP takes it: without credentials, other letters encoded."""
    host = (parts.hostname or "").encode("idna").decode("ascii")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    query = f"?{quote(parts.query, safe='/?%:@!$&*+,;=()~')}" if parts.query else ""
    return f"{parts.scheme.lower()}://{host}{port}{quote(parts.path, safe='/%:@!$&*+,;=()~')}{query}"


def is_private(host: str) -> bool:
    """Whether a name leads to this machine, or to one that only its own network reaches."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        # the download says so
        return False
    return any(not ipaddress.ip_address(str(address).partition("%")[0]).is_global for address in addresses)


class CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """
    Follows redirects to public web addresses only.

    Args:
        allows_private (`bool`):
            Whether redirects may lead into the own network, as when the user named an address there.
    """

    def __init__(self, allows_private: bool):
        self.allows_private = allows_private

    def redirect_request(self, request: Any, file: Any, code: int, message: str, headers: Any, url: str) -> Any:
        """The request for the next address, or an `OSError`."""
        parts = urlsplit(url)
        if parts.scheme.lower() not in SCHEMES:
            raise OSError(f"it redirects to {parts.scheme}, which is not followed.")
        if not self.allows_private and is_private(parts.hostname or ""):
            raise OSError("it redirects to an address of a private network, which is not followed.")
        return super().redirect_request(request, file, code, message, headers, url)


def download(url: str) -> bytes:
    """
    The content of an http or https address.

    Raises:
        `ValueError`: it cannot be downloaded, or is too large or too slow.
    """
    name = hide_credentials(url)
    try:
        parts = urlsplit(url)
        request = urllib.request.Request(to_ascii(parts))
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            # not sent to where it redirects
            request.add_unredirected_header(
                "Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}"
            )
        opener = urllib.request.build_opener(CheckedRedirects(allows_private=is_private(parts.hostname or "")))
        with opener.open(request, timeout=DOWNLOAD_TIMEOUT_S) as response:
            return _read_bounded(response)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ValueError(f"{name} cannot be downloaded: {error}") from error


def _read_bounded(response: Any) -> bytes:
    """All that a server sends, or an `OSError` if it is too much or takes too long."""
    content, deadline = bytearray(), time.monotonic() + MAX_DOWNLOAD_S
    # one part of what is there, not a whole one that a slow server never completes
    while part := response.read1(PART_BYTES):
        content += part
        if len(content) > MAX_DOWNLOAD_BYTES:
            raise OSError(f"it has more than {MAX_DOWNLOAD_BYTES:,} bytes.")
        if time.monotonic() > deadline:
            raise OSError(f"it takes more than {MAX_DOWNLOAD_S} s.")
    if response.length:
        raise OSError(f"it breaks off: {response.length:,} bytes are missing.")
    return bytes(content)


__all__ = [
    "DOWNLOAD_TIMEOUT_S",
    "MAX_DOWNLOAD_BYTES",
    "MAX_DOWNLOAD_S",
    "PART_BYTES",
    "SCHEMES",
    "CheckedRedirects",
    "download",
    "hide_credentials",
    "is_private",
    "is_url",
    "to_ascii",
]
