"""Requests to an OpenAI-compatible endpoint: the key, tries, and what a failure means for the run.

The key is read from the environment and goes into one header. It is removed from every text that a server sends back.
"""

from __future__ import annotations

import json
import os
import threading

import httpx
from pydantic import JsonValue

from schemas.errors import RuntimeEnvironmentError, SampleRejectedError
from teacher.vlm.pacing import RequestPacer, WaitClock, choose_wait_s, parse_retry_after
from teacher.vlm.replies import MAX_REPLY_BYTES, Blame, Completion, Fault, read_reply
from teacher.vlm.settings import VlmSettings

_CONNECT_TIMEOUT_S = 10.0
_LEAST_FAILURES_IN_ROW = 4
_HIDDEN = "***"
_CONTINUE = "Then run the same command again: `label` keeps the answers so far"


class VlmEndpoint:
    """Sends requests, from several threads at a time."""

    def __init__(self, settings: VlmSettings, clock: WaitClock) -> None:
        """Open no connection yet. Raises RuntimeEnvironmentError without the key's environment variable."""
        self._settings, self._clock = settings, clock
        self._key = _read_key(settings.api_key_env)
        self._url = f"{settings.base_url}/chat/completions"
        self._pacer = RequestPacer(settings.requests_per_minute, clock)
        self._lock, self._failures_in_row = threading.Lock(), 0
        timeout = httpx.Timeout(settings.timeout_s, connect=min(_CONNECT_TIMEOUT_S, settings.timeout_s))
        limits = httpx.Limits(max_connections=settings.concurrency)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = httpx.Client(timeout=timeout, limits=limits, headers=headers)

    def ask(self, body: dict[str, JsonValue], stop: threading.Event) -> Completion:
        """Return the completion of a request, after several tries if needed.

        stop:   set by another thread when there is no use in further tries
        raises: RuntimeEnvironmentError if the endpoint cannot answer any request, SampleRejectedError with
                TEACHER_ERROR if it cannot answer this one
        """
        data = json.dumps(body, ensure_ascii=False).encode()
        self._wait_turn(stop)
        began = self._clock.now_s()  # a late first turn is no failure of the endpoint
        tries = 0
        while True:
            reply = self._send(data)
            tries += 1
            if isinstance(reply, Completion):
                self._failures_in_row = 0
                return reply
            wait_s = choose_wait_s(tries, reply.retry_after_s)
            is_late = self._clock.now_s() + wait_s - began > self._settings.give_up_after_s
            if reply.blame in (Blame.SETUP, Blame.SAMPLE) or tries > self._settings.retries or is_late:
                raise self._explain(reply, tries)
            if reply.retry_after_s:
                self._pacer.pause(reply.retry_after_s)
            self._clock.wait(wait_s, stop)
            self._wait_turn(stop)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _wait_turn(self, stop: threading.Event) -> None:
        """Wait until a request may be sent. Raises RuntimeEnvironmentError if `stop` is set by then."""
        if not stop.is_set():
            self._pacer.wait_turn(stop)
        if stop.is_set():
            raise RuntimeEnvironmentError(f"{self._url}: not asked, because another request failed")

    def _send(self, data: bytes) -> Completion | Fault:
        """Try once. What httpx raises becomes a fault."""
        try:
            return self._exchange(data)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            return Fault(Blame.SERVICE, f"no connection ({self._hide(str(error))})")
        except httpx.TimeoutException:
            return Fault(Blame.UNKNOWN, f"no answer within {self._settings.timeout_s:g} s (timeout_s)")
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            return Fault(Blame.SETUP, self._hide(str(error)))
        except httpx.HTTPError as error:
            return Fault(Blame.UNKNOWN, f"{type(error).__name__}: {self._hide(str(error))}")

    def _exchange(self, data: bytes) -> Completion | Fault:
        deadline = self._clock.now_s() + self._settings.timeout_s
        body = bytearray()
        with self._client.stream("POST", self._url, content=data) as response:
            for part in response.iter_bytes():
                body += part
                if len(body) > MAX_REPLY_BYTES:
                    return Fault(Blame.SAMPLE, f"a reply of more than {MAX_REPLY_BYTES >> 20} MiB")
                if self._clock.now_s() > deadline:  # httpx limits the time between two parts only
                    raise httpx.ReadTimeout("the reply did not end")
            retry_after_s = parse_retry_after(response.headers.get("Retry-After"))
            reply = read_reply(response.status_code, bytes(body), retry_after_s)
        if isinstance(reply, Fault):
            return Fault(reply.blame, self._hide(reply.text), reply.retry_after_s)
        return reply

    def _explain(self, fault: Fault, tries: int) -> RuntimeEnvironmentError | SampleRejectedError:
        """Return what a fault means after the last try."""
        settings = self._settings
        if fault.blame is Blame.SAMPLE:
            return SampleRejectedError("TEACHER_ERROR", f"the endpoint refuses the request: {fault.text}")
        if fault.blame is Blame.SETUP:
            return RuntimeEnvironmentError(f"{self._url}: {fault.text}. {self._describe_remedy(fault.text)}")
        asked = f"; it asks to wait {fault.retry_after_s:.0f} s" if fault.retry_after_s else ""
        problem = f"{self._url}: {fault.text}, after {tries} tries{asked}"
        with self._lock:
            self._failures_in_row += fault.blame is Blame.UNKNOWN
            is_down = self._failures_in_row >= max(settings.concurrency, _LEAST_FAILURES_IN_ROW)
        if fault.blame is Blame.SERVICE or is_down:
            limit = ", or lower teacher.requests_per_minute or teacher.concurrency" if asked else ""
            return RuntimeEnvironmentError(f"{problem}. Check that the endpoint runs{limit}. {_CONTINUE}")
        return SampleRejectedError("TEACHER_ERROR", f"{fault.text}, after {tries} tries")

    def _describe_remedy(self, text: str) -> str:
        name = self._settings.api_key_env
        if text.startswith(("HTTP 401", "HTTP 402", "HTTP 403")):
            return (
                f"Check the key in the environment variable {name} and its rights"
                if name
                else "Put the name of the key's environment variable into teacher.api_key_env"
            )
        return (
            f"Check teacher.base_url, which usually ends in /v1, and teacher.model {self._settings.model!r}, which "
            "must be a model of this endpoint"
        )

    def _hide(self, text: str) -> str:
        """Return the text without the key."""
        return text.replace(self._key, _HIDDEN) if self._key else text


def _read_key(name: str | None) -> str:
    """Return the key, or "" if none is used."""
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise RuntimeEnvironmentError(
            f"the environment variable {name} (teacher.api_key_env) is not set on this machine; set it on every node "
            "to the key of the endpoint"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise RuntimeEnvironmentError(
            f"the environment variable {name} (teacher.api_key_env) has characters that no key has, such as a line "
            "break; set it to the key alone"
        )
    return key
