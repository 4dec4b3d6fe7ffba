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
"""
A Hub on this machine: the endpoints of huggingface.co that huggingface_hub calls for a model or a Space, with LFS storage.

The name of a Space begins with `spaces/`. It keeps one branch, in memory. As on the Hub, binary files go to the LFS storage first; a commit names them and makes all of its
files visible at once.
"""

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results


USER, TOKEN = "somebody", "hf_right"
SPACE_SDKS = ("gradio", "docker", "static")
SPACE_COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


class Repository:
    """One repository: its files, as contents or as the sha256 of objects of the LFS storage, and its commits."""

    def __init__(self, private: bool):
        self.private = private
        self.files: dict[str, bytes] = {".gitattributes": b"*.safetensors filter=lfs\n"}
        self.lfs: dict[str, str] = {}
        self.commits = ["0" * 40]


class LoopbackHub(ThreadingHTTPServer):
    """
    The server. `failure` breaks it: `"drop"` cuts uploads in the middle, `"stall"` halts them until `resume` is set, and a number
    is the status of all uploads.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.failure: str | int | None = None
        self.is_stalled, self.resume = threading.Event(), threading.Event()
        self.requests: list[tuple[str, str]] = []

    @property
    def endpoint(self) -> str:
        """Its address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        """The address of its LFS storage, on another host, as on the Hub."""
        return f"http://localhost:{self.server_port}/lfs"

    def read(self, repo_id: str, path: str) -> bytes:
        """The content of a file."""
        repository = self.repositories[repo_id]
        return self.objects[repository.lfs[path]] if path in repository.lfs else repository.files[path]

    def list(self, repo_id: str) -> list[str]:
        """The paths of all files."""
        repository = self.repositories[repo_id]
        return sorted({*repository.files, *repository.lfs})


@contextmanager
def run_hub() -> Iterator[LoopbackHub]:
    """Run a Hub in a thread."""
    hub = LoopbackHub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def start_publish(hub: LoopbackHub, model: str, repo_id: str, *arguments: str, **variables: str) -> subprocess.Popen:
    """Start `audioslots publish` in a process that uploads to a Hub, as a user does."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", **variables}
    words = ["publish", model, "--repo-id", repo_id, *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from _audioslots_command import main; sys.exit(main())", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


class HubError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def log_message(self, *args) -> None:
        """Stay silent."""

    def handle_any(self) -> None:
        """Find the endpoint of a request."""
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        # one name for a Space in all addresses
        path = path.replace("/api/spaces/", "/api/models/spaces/", 1)
        for method, pattern, function in ROUTES:
            if self.command == method and (match := re.fullmatch(pattern, path)):
                try:
                    function(self, **match.groupdict())
                except HubError as error:
                    headers = {"X-Error-Code": error.code, "X-Error-Message": error.message}
                    self.send_json({"error": error.message}, error.status, headers)
                return
        self.send_json({"error": f"no {self.command} {path}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def read_body(self) -> bytes:
        """The body of a request, which may come in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send_bytes(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Answer; without the body to HEAD."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON."""
        self.send_bytes(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    @property
    def is_owner(self) -> bool:
        """Whether the request has the right token."""
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def check_token(self) -> None:
        """Refuse a request without the right token."""
        if not self.is_owner:
            raise HubError(401, "Invalid credentials in Authorization header")

    def find(self, repo_id: str) -> Repository:
        """A repository that the owner of the token may see."""
        repository = self.server.repositories.get(repo_id)
        if repository is None or (repository.private and not self.is_owner):
            raise HubError(404 if self.is_owner else 401, "Repository not found", "RepoNotFound")
        return repository

    def whoami(self) -> None:
        self.check_token()
        self.send_json({"type": "user", "name": USER, "orgs": [], "auth": {"type": "access_token"}})

    def create(self) -> None:
        body = json.loads(self.read_body())
        self.check_token()
        owner = body.get("organization") or USER
        if owner != USER:
            raise HubError(403, f"You don't have the rights to create a model under the namespace {owner}")
        repo_id = f"{owner}/{body['name']}"
        if body.get("type") == "space":
            repo_id = f"spaces/{repo_id}"
            if body.get("sdk") not in SPACE_SDKS:
                raise HubError(400, "Invalid Space SDK")
        address = {"url": f"{self.server.endpoint}/{repo_id}"}
        if repo_id in self.server.repositories:
            self.send_json({"error": "You already created this model repo", **address}, 409)
            return
        is_private = bool(body.get("private")) or body.get("visibility") == "private"
        self.server.repositories[repo_id] = Repository(is_private)
        self.send_json(address)

    def validate(self) -> None:
        body = json.loads(self.read_body())
        try:
            data = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", body["content"], re.DOTALL)[1])
            check_metadata(data, body["repoType"])
        except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            if self.headers.get("Accept") == "text/plain":
                self.send_bytes(str(error).encode(), 400)
            else:
                self.send_json({"errors": [{"message": str(error)}], "warnings": []}, 400)
            return
        self.send_json({"errors": [], "warnings": []})

    def preupload(self, repo_id: str) -> None:
        files = json.loads(self.read_body())["files"]
        self.check_token()
        repository = self.find(repo_id)
        answers = []
        for file in files:
            is_binary = b"\0" in base64.b64decode(file["sample"])
            oid = hash_blob(repository.files[file["path"]]) if file["path"] in repository.files else None
            mode = "lfs" if is_binary else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.send_json({"files": answers})

    def batch(self, repo_id: str) -> None:
        wanted = json.loads(self.read_body())["objects"]
        self.check_token()
        self.find(repo_id)
        objects = []
        for entry in wanted:
            address = f"{self.server.storage}/{entry['oid']}"
            actions = {"upload": {"href": address}, "verify": {"href": f"{address}/verify"}}
            is_new = entry["oid"] not in self.server.objects
            objects.append({**entry, **({"actions": actions} if is_new else {})})
        self.send_json(
            {"transfer": "basic", "objects": objects}, headers={"Content-Type": "application/vnd.git-lfs+json"}
        )

    def put_object(self, oid: str) -> None:
        if self.server.failure in ("drop", "stall"):
            self.rfile.read(1)
            if self.server.failure == "stall":
                self.server.is_stalled.set()
                self.server.resume.wait()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self.read_body()
        if self.server.failure is not None:
            raise HubError(int(self.server.failure), "Storage quota exceeded")
        if hashlib.sha256(body).hexdigest() != oid:
            raise HubError(400, "another sha256")
        self.server.objects[oid] = body
        self.send_bytes(b"")

    def verify(self, oid: str) -> None:
        entry = json.loads(self.read_body())
        is_right = len(self.server.objects.get(oid, b"")) == entry["size"]
        self.send_json({}, 200 if is_right else 404)

    def commit(self, repo_id: str) -> None:
        lines = [json.loads(line) for line in self.read_body().splitlines()]
        self.check_token()
        repository = self.find(repo_id)
        files, lfs = dict(repository.files), dict(repository.lfs)
        for line in lines:
            kind, value = line["key"], line["value"]
            if kind != "header":
                files.pop(value["path"], None)
                lfs.pop(value["path"], None)
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                if value["oid"] not in self.server.objects:
                    raise HubError(422, "the object was not uploaded")
                lfs[value["path"]] = value["oid"]
        repository.files, repository.lfs = files, lfs
        oid = hashlib.sha1(repr(lines).encode() + repository.commits[-1].encode()).hexdigest()
        repository.commits.append(oid)
        self.send_json(
            {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{self.server.endpoint}/{repo_id}/commit/{oid}",
                "hookOutput": "",
            }
        )

    def info(self, repo_id: str, revision: str | None = None) -> None:
        repository = self.find(repo_id)
        siblings = [{"rfilename": name} for name in self.server.list(repo_id)]
        answer = {"id": repo_id, "sha": repository.commits[-1], "private": repository.private, "siblings": siblings}
        # as on the Hub, from the card
        data = ModelCard(repository.files.get("README.md", b"").decode()).data
        answer |= {"tags": data.tags or [], "pipeline_tag": data.pipeline_tag, "library_name": data.library_name}
        self.send_json(answer)

    def tree(self, repo_id: str, folder: str | None = None) -> None:
        repository = self.find(repo_id)
        entries = []
        for path in self.server.list(repo_id):
            if folder and not path.startswith(f"{folder}/"):
                continue
            content = self.server.read(repo_id, path)
            entry = {"type": "file", "path": path, "size": len(content), "oid": hash_blob(content)}
            if path in repository.lfs:
                entry["lfs"] = {"oid": repository.lfs[path], "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self.send_json(entries)

    def resolve(self, repo_id: str, revision: str, path: str) -> None:
        repository = self.find(repo_id)
        if revision not in ("main", repository.commits[-1]):
            raise HubError(404, "Revision not found", "RevisionNotFound")
        if path not in self.server.list(repo_id):
            raise HubError(404, "Entry not found", "EntryNotFound")
        content = self.server.read(repo_id, path)
        headers = {"X-Repo-Commit": repository.commits[-1]}
        if path in repository.lfs:
            oid = repository.lfs[path]
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{oid}"'}
            self.send_bytes(b"", 302, headers | {"Location": f"{self.server.storage}/{oid}"})
        else:
            self.send_bytes(content, headers=headers | {"ETag": f'"{hash_blob(content)}"'})

    def get_object(self, oid: str) -> None:
        self.send_bytes(self.server.objects[oid], headers={"ETag": f'"{oid}"'})


def check_metadata(data: dict[str, object], repo_type: str) -> None:
    """Refuse the metadata of a card as the Hub does."""
    if not isinstance(data.get("license"), str) or not re.fullmatch(r"[a-z0-9.-]+", data["license"]):
        raise ValueError('"license" must be one of the identifiers of licences')
    if "model-index" in data:
        model_index_to_eval_results(data["model-index"])
    if repo_type != "space":
        return
    if data["sdk"] not in SPACE_SDKS:
        raise ValueError(f'"sdk" must be one of {SPACE_SDKS}')
    if not re.fullmatch(r"\d+\.\d+\.\d+\w*", data["sdk_version"]) or not re.fullmatch(
        r"3\.\d+", data["python_version"]
    ):
        raise ValueError('"sdk_version" and "python_version" must be versions')
    if (
        len(data["emoji"]) > 2
        or data["emoji"].isascii()
        or not {data["colorFrom"], data["colorTo"]} <= {*SPACE_COLORS}
    ):
        raise ValueError('"emoji" must be an emoji, and the colors those of Spaces')
    if len(data["short_description"]) > 60:
        raise ValueError('"short_description" must be at most 60 characters long')


def hash_blob(content: bytes) -> str:
    """The name of a file in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


REPO = r"(?P<repo_id>(?:spaces/)?[\w.-]+/[\w.-]+)"
OID = r"(?P<oid>[0-9a-f]{64})"
ROUTES = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate),
    ("POST", f"/api/models/{REPO}/preupload/main", Handler.preupload),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", f"/lfs/{OID}", Handler.put_object),
    ("POST", f"/lfs/{OID}/verify", Handler.verify),
    ("POST", f"/api/models/{REPO}/commit/main", Handler.commit),
    ("GET", f"/api/models/{REPO}/tree/main(/(?P<folder>.+))?", Handler.tree),
    ("GET", f"/api/models/{REPO}(/revision/(?P<revision>.+))?", Handler.info),
    ("GET", f"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
    ("HEAD", f"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
    ("GET", f"/lfs/{OID}", Handler.get_object),
    ("HEAD", f"/lfs/{OID}", Handler.get_object),
]
