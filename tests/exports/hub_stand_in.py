"""A stand-in for the Hugging Face hub: the HTTP requests that huggingface_hub makes, in memory.

Repositories, commits of whole files and of LFS, and downloads, as the hub's public API has them.
"""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

OWNER, TOKEN = "acme", "hf_" + "stand" * 8


@dataclass
class StoredRepository:
    """Its files as they are, who sees it, and how many commits it has."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(len(self.commits)).encode()).hexdigest()


class HubStandIn:
    """The server; ``requests`` are the method and path of each, ``tokens`` what they carried."""

    def __init__(self) -> None:
        self.repositories: dict[str, StoredRepository] = {}
        self.uploads: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()
        stand_in = self

        class Handler(_Handler):
            hub = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, value: object = None, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _path(self) -> str:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        return path

    def _is_known(self) -> bool:
        given = self.headers.get("Authorization")
        self.hub.tokens.add(given)
        return given == f"Bearer {TOKEN}"

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _repository(self, name: str) -> StoredRepository | None:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self._is_known()):
            self._answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        return found

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if path.endswith("/validate-yaml"):
            self._answer(200, {"errors": [], "warnings": []})
        elif not self._is_known():
            self._answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in path:
            names = [each["path"] for each in json.loads(body)["files"]]
            modes = ["lfs" if name.endswith(".safetensors") else "regular" for name in names]
            files = [
                {"path": name, "uploadMode": mode, "shouldIgnore": False}
                for name, mode in zip(names, modes, strict=True)
            ]
            self._answer(200, {"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            self._answer(200, {"objects": [self._place(o) for o in json.loads(body)["objects"]]})
        elif "/commit/" in path:
            self._commit(path, body)
        else:
            self._answer(404, {"error": path})

    def _create(self, asked: dict) -> None:
        name = f"{asked.get('organization') or OWNER}/{asked['name']}"
        status = 409 if name in self.hub.repositories else 200
        private = asked.get("visibility") == "private"
        self.hub.repositories.setdefault(name, StoredRepository(private))
        self._answer(status, {"url": f"{self.hub.address}/{name}", "name": name})

    def _place(self, item: dict) -> dict:
        upload = {"href": f"{self.hub.address}/upload/{item['oid']}"}
        return {"oid": item["oid"], "size": item["size"], "actions": {"upload": upload}}

    def do_PUT(self) -> None:
        path, body = self._path(), self._body()
        self.hub.uploads[path.rpartition("/")[2]] = body
        self._answer(200)

    def _commit(self, path: str, body: bytes) -> None:
        name = path.removeprefix("/api/models/").partition("/commit/")[0]
        found = self._repository(name)
        if found is None:
            return
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                found.files[value["path"]] = self.hub.uploads[value["oid"]]
            elif item["key"] == "deletedFile":
                del found.files[value["path"]]
            elif item["key"] == "header":
                found.commits.append(value["summary"])
        url = f"{self.hub.address}/{name}/commit/{found.sha}"
        self._answer(200, {"commitUrl": url, "commitOid": found.sha, "success": True})

    def do_GET(self) -> None:
        path = self._path()
        if path.startswith("/api/models/"):
            name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
            found = self._repository(name)
            if found is not None:
                siblings = [{"rfilename": each} for each in found.files]
                known = {"id": name, "private": found.private, "sha": found.sha}
                self._answer(200, {**known, "siblings": siblings})
            return
        name, _, file = path.lstrip("/").partition("/resolve/")
        found = self._repository(name)
        if found is None:
            return
        content = found.files.get(file.partition("/")[2])
        if content is None:
            self._answer(404, {"error": "no such file"}, X_Error_Code="EntryNotFound")
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._answer(200, content, ETag=etag, X_Repo_Commit=found.sha)

    do_HEAD = do_GET
