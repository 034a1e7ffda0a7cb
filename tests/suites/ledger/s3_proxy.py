"""A local proxy in front of an S3 that fails one request on its way there or back."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("503", "429", "500", "reset", "dropped answer", "stall", "half a body")
_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>planted</Message></Error>"
_CODES = {"503": "SlowDown", "429": "TooManyRequests", "500": "InternalError"}
_OF_THE_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Proxy:
    """Where it listens, its target, and which request (from 1) fails how."""

    target: str
    url: str = ""
    number: int = 0
    fault: str = ""
    among: re.Pattern[str] = re.compile("")
    seen: list[str] = field(default_factory=list)
    fired: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, number: int, fault: str, among: str) -> None:
        """Restart the count, and fail the n-th request from here among those (a regular expression)."""
        with self.lock:
            self.number, self.fault, self.among, self.fired = number, fault, re.compile(among), 0
            self.seen = []
            self.released.set()
            self.released = threading.Event()

    def fault_of(self, request: str) -> str:
        """Count a request; return its fault."""
        with self.lock:
            if self.among.search(request) is None:
                return ""
            self.seen.append(request)
            due = len(self.seen) == self.number
            self.fired += due
            return self.fault if due else ""


@contextmanager
def s3_proxy(target: str) -> Iterator[Proxy]:
    """Start a proxy in front of an endpoint URL."""
    proxy = Proxy(target)

    class Handler(_Handler):
        front = proxy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    front: Proxy
    protocol_version = (
        "HTTP/1.1"  # else it would not answer `Expect: 100-continue`, and a put would wait for ever
    )

    def handle_any(self) -> None:
        fault = self.front.fault_of(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault in _CODES:
            return self._answer(int(fault), [], _ERROR.format(_CODES[fault]).encode())
        if fault == "reset":
            return self._reset()
        status, headers, answer = self._pass_on(body)
        if fault == "dropped answer":
            return self._reset()
        if fault == "stall":
            self.front.released.wait(30)
            return self._reset()
        self._answer(status, headers, answer, len(answer) // 2 if fault == "half a body" else None)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.front.target).netloc, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, cut: int | None = None
    ) -> None:
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_THE_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self._reset()
        self.close_connection = True

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:
        pass
