"""A server of the chat-completions protocol on this machine. It sees colored patches in the image that it gets.

It refuses what the protocol does not allow, so a request that it answers is a valid one.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}
MODEL, KEY = "vlm-8b", "sk-a-very-secret-key-0123456789"


@dataclass(frozen=True)
class Reply:
    """What the server sends. A text becomes the message of a completion."""

    text: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    finish_reason: str = "stop"
    raw: bytes | None = None
    """The whole body instead of a completion."""
    part_delay_s: float = 0.0
    """Send the body in ten parts, with this time before each."""


@dataclass
class Received:
    """A request that the server understood."""

    body: dict
    headers: dict[str, str]
    image_rgb_u8: np.ndarray
    instruction: str
    texts: list[str]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.image_rgb_u8.shape[:2]


Responder = Callable[[Received], Reply]


class ChatServer:
    """A running server. `respond` may be replaced; `received` has every request in order of arrival."""

    def __init__(self, style: str = "json", key: str | None = None) -> None:
        self.style, self.key = style, key
        self.received: list[Received] = []
        self.respond: Responder = self.see
        self.first: list[Reply] = []
        """Replies to the first requests, before `respond` is asked."""
        self.most_open = self._open = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def see(self, request: Received) -> Reply:
        """Answer with the box of the patch of each color that a text names."""
        boxes = [
            (number, text, box)
            for number, text in enumerate(request.texts)
            if (box := find_patch(request.image_rgb_u8, text)) is not None
        ]
        return Reply(self.write(boxes, request.size))

    def write(self, boxes: list[tuple[int, str, tuple[float, ...]]], size: tuple[int, int]) -> str:
        """Write boxes, given as fractions of the image, in the server's style."""
        height, width = size if self.style == "qwen2.5" else (1000, 1000)
        scaled = [
            (number, text, [round(side * unit) for side, unit in zip(box, (width, height) * 2, strict=True)])
            for number, text, box in boxes
        ]
        if self.style == "json":
            return json.dumps({"boxes": [{"phrase": number, "box": box} for number, _, box in scaled]})
        items = ",\n".join(json.dumps({"bbox_2d": box, "label": text}) for _, text, box in scaled)
        return f"```json\n[{items}]\n```"

    def _answer(self, headers: dict[str, str], data: bytes, path: str) -> Reply:
        if path != "/v1/chat/completions":
            return _error(404, f"no route {path}")
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, f"Incorrect API key provided: {headers.get('authorization')}")
        try:
            request = parse_request(json.loads(data), headers)
        except Exception as error:
            return _error(400, f"{type(error).__name__}: {error}")
        if request.body["model"] != MODEL:
            return _error(404, f"The model `{request.body['model']}` does not exist.")
        with self._lock:
            self.received.append(request)
            self._open += 1
            self.most_open = max(self.most_open, self._open)
            first = self.first.pop(0) if self.first else None
        try:
            reply = first or self.respond(request)
            time.sleep(reply.delay_s)
        finally:
            with self._lock:
                self._open -= 1
        return reply

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = owner._answer(headers, data, self.path)
                body = reply.raw if reply.raw is not None else completion(reply)
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for part in split_body(body, reply):
                        self.wfile.write(part)
                except OSError:
                    self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _error(status: int, message: str) -> Reply:
    return Reply(status=status, raw=json.dumps({"error": {"message": message}}).encode())


def completion(reply: Reply) -> bytes:
    """Return the body of a chat completion."""
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return json.dumps(
        {"id": "c-1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]}
    ).encode()


def split_body(body: bytes, reply: Reply) -> Iterator[bytes]:
    """Yield the parts of a body, in the reply's pace."""
    size = len(body) if not reply.part_delay_s else -(-len(body) // 10)
    for first in range(0, len(body), size or 1):
        time.sleep(reply.part_delay_s)
        yield body[first : first + size]


def parse_request(body: dict, headers: dict[str, str]) -> Received:
    """Read a request strictly. Raises an exception for one that an endpoint would refuse."""
    assert headers["content-type"] == "application/json"
    assert body["temperature"] == 0 and body["max_tokens"] >= 16 and isinstance(body["seed"], int)
    (message,) = body["messages"]
    assert message["role"] == "user"
    picture, text = message["content"]
    assert (picture["type"], text["type"]) == ("image_url", "text")
    kind, _, data = picture["image_url"]["url"].partition(";base64,")
    assert kind in ("data:image/jpeg", "data:image/png")
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert image.format is not None and kind.endswith(image.format.lower())
    return Received(body, headers, np.asarray(image.convert("RGB")), text["text"], read_texts(text["text"]))


def read_texts(instruction: str) -> list[str]:
    """Return the phrases that an instruction quotes."""
    lines = re.findall(r"^\d+: (\".*\")$", instruction, re.MULTILINE)
    if lines:
        return [json.loads(line) for line in lines]
    quoted = instruction.partition("categories: ")[2].partition(". Report bbox")[0]
    return json.loads(f"[{quoted}]")


def find_patch(image_rgb_u8: np.ndarray, text: str) -> tuple[float, ...] | None:
    """Return the box, as fractions, of the pixels whose color the text names."""
    color = next((rgb for name, rgb in COLORS.items() if name in text.lower()), None)
    if color is None:
        return None
    near = (np.abs(image_rgb_u8.astype(int) - color) < 60).all(axis=2)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return None
    height, width = near.shape
    return (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
