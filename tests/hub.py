"""A hub on this machine: what `huggingface_hub` asks of it to make, fill and fetch a repository, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlparse


@dataclass
class Hub:
    """What stands on it.

    Attributes:
        endpoint: Its address.
        files: The files of each repository.
        visible: What was said of each that was made.
        refused: Every request is, with this status, if it is not 0.
    """

    endpoint: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    visible: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0

    def commit(self, repository: str) -> str:
        """A hash of what stands in it."""
        told = sorted((name, hashlib.sha1(data).hexdigest()) for name, data in self.files[repository].items())
        return hashlib.sha1(repr(told).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[Hub]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Prints nothing."""

    def do_POST(self) -> None:
        body, path = self._body(), urlparse(self.path).path
        if self.hub.refused:
            self._answer({"error": "no right to write there"}, self.hub.refused)
        elif path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization']}/{told['name']}"
            self.hub.files.setdefault(name, {})
            self.hub.visible.setdefault(name, told)
            self._answer({"url": f"{self.hub.endpoint}/{name}"})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
            wanted = [one["path"] for one in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in wanted]
            self._answer({"files": modes})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            lines = [json.loads(line) for line in body.splitlines()]
            for line in (one["value"] for one in lines if one["key"] == "file"):
                self.hub.files[found[1]][line["path"]] = base64.b64decode(line["content"])
            commit = self.hub.commit(found[1])
            self._answer({"commitUrl": f"{self.hub.endpoint}/{found[1]}/commit/{commit}", "commitOid": commit})
        else:
            self._answer({"error": f"POST {self.path} is not known here"}, 404)

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main|/tree/\w+)?", path):
            if found[1] not in self.hub.files:
                self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            elif "/tree/" in path:
                files = self.hub.files[found[1]].items()
                self._answer(
                    [{"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in files]
                )
            else:
                siblings = [{"rfilename": name} for name in self.hub.files[found[1]]]
                told = {"id": found[1], "modelId": found[1], "sha": self.hub.commit(found[1]), "siblings": siblings}
                self._answer({**told, "private": True, "tags": [], "downloads": 0, "likes": 0})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
            data = self.hub.files.get(found[1], {}).get(found[2])
            if data is None:
                code = "EntryNotFound" if found[1] in self.hub.files else "RepoNotFound"
                self._answer({"error": code}, 404, {"X-Error-Code": code})
            else:
                told = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": self.hub.commit(found[1])}
                self._answer(data, headers=told)
        else:
            self._answer({"error": f"GET {self.path} is not known here"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, told: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        kind = "application/octet-stream" if isinstance(told, bytes) else "application/json"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
