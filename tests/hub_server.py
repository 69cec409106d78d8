"""A small stand-in for the Hugging Face Hub on loopback, for tests; it takes what is pushed where it is given a folder for it."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

REPO = r"(?P<name>[^/]+(?:/[^/]+)?)"  # 'owner/name', or 'name' alone
FILE_URL = re.compile(rf"/(?P<kind>datasets/)?{REPO}/(?P<what>resolve)/(?P<rev>[^/]+)/(?P<path>.+)")
API_URL = re.compile(
    rf"/api/(?P<kind>models|datasets)/{REPO}"
    r"(?:/(?P<what>revision|tree|paths-info)/(?P<rev>[^/]+)(?:/(?P<path>.+))?)?"
)


WRITE_URL = re.compile(rf"/api/(?:(?P<free>repos/create|validate-yaml)|models/{REPO}/(?P<what>preupload|commit)/main)")


class Repo:
    """The files of one folder, listed once, with the ids git would give them."""

    def __init__(self, name: str, folder: str | Path):
        self.folder, self.entries = Path(folder), {}
        for file in sorted(self.folder.rglob("*")):
            path, kind = file.relative_to(folder).as_posix(), "file" if file.is_file() else "directory"
            data = file.read_bytes() if kind == "file" else b""
            oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self.entries[path] = {"type": kind, "path": path, "size": len(data), "oid": oid}
        self.sha = hashlib.sha1(json.dumps(self.entries).encode()).hexdigest()
        files = [{"rfilename": path} for path, e in self.entries.items() if e["type"] == "file"]
        self.info = {"id": name, "sha": self.sha, "private": False, "tags": [], "siblings": files}

    def tree(self, folder: str, recursive: bool) -> list[dict]:
        """What is below a folder ('' for the root): everything, or its direct children."""
        prefix = f"{folder}/" if folder else ""
        below = [e for path, e in self.entries.items() if path.startswith(prefix)]
        return [e for e in below if recursive or "/" not in e["path"].removeprefix(prefix)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep connections open
    disable_nagle_algorithm = True  # headers and body are two writes: do not wait between them

    def answer(self):
        """Answer one GET, HEAD or POST request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        url = urlsplit(self.path)
        self.server.requests.append((self.command, url.path))
        if self.command == "POST" and self.server.taken and (match := WRITE_URL.fullmatch(url.path)):
            return self.reply(200, json.dumps(self.take(match, body)).encode())
        match = API_URL.fullmatch(url.path) or FILE_URL.fullmatch(url.path)
        if not match:
            return self.reply(200 if url.path == "/" else 404, b"")
        kind = "datasets" if (match["kind"] or "").startswith("datasets") else "models"
        repo = self.server.repos.get((kind, match["name"]))
        if repo is None:  # 401: what the Hub answers to a caller without a token
            return self.reply(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if match["rev"] not in (None, "main", repo.sha):
            return self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        what, path, found = match["what"], unquote(match["path"] or ""), repo.info
        if what == "resolve" and repo.entries.get(path, {}).get("type") == "file":
            return self.send_file(repo, path)
        if what == "tree":
            found = repo.tree(path, recursive=parse_qs(url.query).get("recursive") == ["true"])
        if what == "resolve" or not found:
            return self.reply(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.sha})
        if what == "paths-info":
            found = [repo.entries[p] for p in parse_qs(body).get("paths", []) if p in repo.entries]
        self.reply(200, json.dumps(found).encode())

    do_GET = do_HEAD = do_POST = answer

    def take(self, match: re.Match, body: str) -> dict:
        """Answer what creates a repository or brings files; files are kept as they came, all inside the commit (no LFS)."""
        if match["free"] == "validate-yaml":
            return {"errors": [], "warnings": []}
        if match["free"]:
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.made[name] = asked.get("private", asked.get("visibility") == "private")
            return {"url": f"{self.server.url}/{name}"}
        folder = self.server.taken / match["name"]
        if match["what"] == "preupload":
            files = json.loads(body)["files"]
            return {"files": [{"path": o["path"], "uploadMode": "regular", "shouldIgnore": False} for o in files]}
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                path = folder / line["value"]["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(line["value"]["content"]))
        repo = self.server.repos["models", match["name"]] = Repo(match["name"], folder)
        return {"success": True, "commitOid": repo.sha, "commitUrl": f"{self.server.url}/{match['name']}/commit/{repo.sha}"}

    def send_file(self, repo: Repo, path: str):
        """Send a file, or the part of it that a Range header asks for (no LFS, no xet)."""
        data, entry, status = (repo.folder / path).read_bytes(), repo.entries[path], 200
        headers = {"ETag": f'"{entry["oid"]}"', "X-Linked-Size": entry["size"], "X-Repo-Commit": repo.sha}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data[start : end + 1], 206
        self.reply(status, data, headers)

    def reply(self, status: int, body: bytes, headers: dict | None = None):
        """Send one response; of an error, X-Error-Code tells huggingface_hub which exception to raise."""
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        """Keep the test's stderr clean."""


class HubServer(ThreadingHTTPServer):
    """Serve folders as Hub repositories: ``with HubServer(models={'owner/name': folder}) as hub:``

    The client must be another process, started with HF_ENDPOINT=hub.url and a fresh HF_HOME.
    ``hub.requests`` lists what was asked for, as (method, path) without the query. What is pushed is kept below ``taken``, if
    that is given; ``hub.made`` says of each new repository whether it is private.
    """

    def __init__(self, models: dict | None = None, datasets: dict | None = None, taken: Path | None = None):
        super().__init__(("127.0.0.1", 0), Handler)  # port 0: any free one
        self.url, self.requests = f"http://127.0.0.1:{self.server_port}", []
        self.taken, self.made = taken, {}
        self.repos = {("models", name): Repo(name, folder) for name, folder in (models or {}).items()}
        self.repos |= {("datasets", name): Repo(name, folder) for name, folder in (datasets or {}).items()}

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.shutdown()
        self.server_close()
