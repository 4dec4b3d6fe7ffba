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
import contextlib
import http.client
import ipaddress
import re
import socket
import threading
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
# addresses of IPv4 within IPv6 (RFC 6052), which a translator reaches
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_url(text: str) -> bool:
    """Whether a text is the address of a recording, not a path."""
    return text.lower().startswith(("http://", "https://"))


def hide_credentials(url: str) -> str:
    """An address for messages: without user name and password, and without the query, where signatures and tokens are."""
    scheme, separator, rest = url.partition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    # a password may hold the characters that end the name of a host
    is_password = "@" not in host and ":" in host and not re.search(r":\d*$|\]$", host)
    _, at, after = rest.rpartition("@") if is_password else host.rpartition("@")
    shown = (after if is_password and at else after + rest[len(host) :]).partition("#")[0]
    path, mark, _ = shown.partition("?")
    text = f"{scheme}{separator}{path}{'?...' if mark else ''}"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def to_ascii(parts: SplitResult) -> str:
    """An address as HTTP takes it: without credentials, other letters encoded."""
    host = (parts.hostname or "").encode("idna").decode("ascii")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    query = f"?{quote(parts.query, safe='/?%:@!$&*+,;=()~')}" if parts.query else ""
    return f"{parts.scheme.lower()}://{host}{port}{quote(parts.path, safe='/%:@!$&*+,;=()~')}{query}"


def is_private_address(text: str) -> bool:
    """Whether an IP address is that of this machine, or of one that only its own network reaches."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return not address.is_global or address.is_multicast


def find_addresses(host: str) -> set[str]:
    """The IP addresses of a name; none if it is not known, which the download says."""
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return set()


def is_private(host: str) -> bool:
    """Whether one of the addresses of a name is private."""
    return any(map(is_private_address, find_addresses(host)))


class Guard:
    """
    Watches the connections of one download: the time that all of them take together, and where redirects lead.

    Args:
        allows_private (`bool`):
            Whether redirects may lead into the own network, as when the user named an address there.
    """

    def __init__(self, allows_private: bool):
        self.allows_private = allows_private
        self.is_over = False
        self.num_connections = 0
        self.socket: socket.socket | None = None
        self.timer = threading.Timer(MAX_DOWNLOAD_S, self.stop)
        self.timer.daemon = True

    def __enter__(self) -> "Guard":
        self.timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.timer.cancel()

    def stop(self) -> None:
        """End the connection: what waits for the server, for instance for the next byte of a header, fails."""
        self.is_over = True
        if self.socket is not None:
            # it may have ended
            with contextlib.suppress(OSError):
                # of TCP, below TLS
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def watch(self, connected: socket.socket) -> None:
        """Take a new connection, or refuse it with an `OSError` before anything is asked."""
        self.socket = connected
        self.num_connections += 1
        if self.is_over:
            raise TimeoutError("it takes too long.")
        # a name may have other addresses now than when it was checked; behind a proxy, the proxy is seen
        if self.num_connections > 1 and not self.allows_private and not urllib.request.getproxies():
            self.check_address(connected.getpeername()[0])

    def check_address(self, address: str) -> None:
        """Raise an `OSError` if a redirect leads into the own network."""
        if is_private_address(address):
            raise OSError("it redirects to an address of a private network, which is not followed.")


class _Guarded:
    """Asks a [`Guard`] about each connection, before anything is sent."""

    def __init__(self, *args: Any, guard: Guard, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.guard = guard

    def connect(self) -> None:
        """Connect, and ask the guard."""
        super().connect()
        self.guard.watch(self.sock)


class GuardedConnection(_Guarded, http.client.HTTPConnection):
    """A connection that a [`Guard`] watches."""


class GuardedSecureConnection(_Guarded, http.client.HTTPSConnection):
    """A TLS connection that a [`Guard`] watches."""


class GuardedHandler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https addresses by connections that a [`Guard`] watches."""

    def __init__(self, guard: Guard):
        super().__init__()
        self.guard = guard

    def http_open(self, request: Any) -> Any:
        """The answer of an http address."""
        return self.do_open(GuardedConnection, request, guard=self.guard)

    def https_open(self, request: Any) -> Any:
        """The answer of an https address."""
        return self.do_open(GuardedSecureConnection, request, guard=self.guard)


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
        # otherwise all that the server sends beside the new address would be read
        file.close()
        # without credentials that the server invents
        return super().redirect_request(request, file, code, message, headers, to_ascii(parts))


def download(url: str) -> bytes:
    """
    The content of an http or https address.

    Raises:
        `ValueError`: it cannot be downloaded, or is too large or too slow.
    """
    name = hide_credentials(url)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        # without the text of the error, which may be a part of a password
        raise ValueError(
            f"{name} is no address: its host or its port is not valid. In passwords, write %2F for /, %3A for : and %40 for @."
        ) from error
    addresses = find_addresses(parts.hostname or "")
    allows_private = bool(addresses) and all(map(is_private_address, addresses))
    with Guard(allows_private) as guard:
        try:
            request = urllib.request.Request(to_ascii(parts))
            if parts.username is not None:
                credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                # not sent to where it redirects
                request.add_unredirected_header(
                    "Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}"
                )
            opener = urllib.request.build_opener(CheckedRedirects(allows_private), GuardedHandler(guard))
            with opener.open(request, timeout=DOWNLOAD_TIMEOUT_S) as response:
                return _read_bounded(response, guard)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = error.reason if type(error) is urllib.error.URLError else error
            if guard.is_over:
                reason = f"it takes more than {MAX_DOWNLOAD_S} s."
            raise ValueError(f"{name} cannot be downloaded: {reason}") from error


def _read_bounded(response: Any, guard: Guard) -> bytes:
    """All that a server sends, or an `OSError` if it is too much or takes too long."""
    content = bytearray()
    # one part of what is there, not a whole one that a slow server never completes
    while part := response.read1(PART_BYTES):
        content += part
        if len(content) > MAX_DOWNLOAD_BYTES:
            raise OSError(f"it has more than {MAX_DOWNLOAD_BYTES:,} bytes.")
        if guard.is_over:
            break
    if guard.is_over:
        raise TimeoutError("it takes too long.")
    if response.length:
        raise OSError(f"it breaks off: {response.length:,} bytes are missing.")
    return bytes(content)


__all__ = [
    "CheckedRedirects",
    "DOWNLOAD_TIMEOUT_S",
    "Guard",
    "GuardedConnection",
    "GuardedHandler",
    "GuardedSecureConnection",
    "MAX_DOWNLOAD_BYTES",
    "MAX_DOWNLOAD_S",
    "NAT64",
    "PART_BYTES",
    "SCHEMES",
    "download",
    "find_addresses",
    "hide_credentials",
    "is_private",
    "is_private_address",
    "is_url",
    "to_ascii",
]
