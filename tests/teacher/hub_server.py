"""A hub on loopback: one model with its files at one commit, in the protocol that `huggingface_hub` speaks."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def serve_hub(name: str, commit: str, folder: Path) -> Iterator[str]:
    """Serve the files of a folder as the model `name`, and yield the endpoint."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    info = {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in sorted(files)]}
    tree = [
        {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for file, data in sorted(files.items())
    ]

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.split("?")[0]
            if path == f"/api/models/{name}/revision/{commit}":
                self.send(json.dumps(info).encode(), {"Content-Type": "application/json"}, with_body)
            elif path.startswith(f"/api/models/{name}/tree/{commit}"):
                self.send(json.dumps(tree).encode(), {"Content-Type": "application/json"}, with_body)
            elif (file := path.removeprefix(f"/{name}/resolve/{commit}/")) in files:
                etag = hashlib.sha1(files[file]).hexdigest()
                self.send(files[file], {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, with_body)
            else:
                code = "RevisionNotFound" if f"/{name}" in path else "RepoNotFound"
                self.send(b"{}", {"X-Error-Code": code}, with_body, status=404)

        def send(self, data: bytes, headers: dict[str, str], with_body: bool, status: int = 200) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
