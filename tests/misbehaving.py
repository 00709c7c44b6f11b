"""A second server, which knows nothing of the built-in scenes: it does to answers and bills what it is told.

It answers properly unless its behaviour says otherwise, and keeps a bill as a provider does, of what never arrives too.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from chat_models import properly
from datamodules.regvid.models import ROLES, Models, Role
from datamodules.regvid.openai_model import OpenAIModel


@dataclass
class Reply:
    """What is sent, and what is billed for it."""

    content: Any = None
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    message: dict[str, Any] = field(default_factory=dict)
    usage: Any = "right"
    wait: float = 0.0
    hidden: int = 0
    """Tokens of thoughts, which stand in the total alone."""


@dataclass(frozen=True)
class Asked:
    """A request: whose, with which words, and the how many-eth it is, from 0, of its role and of its words."""

    role: Role
    text: str
    images: int
    number: int
    time: int


Behaviour = Callable[[Asked], Reply]


def proper(asked: Asked) -> Reply:
    return Reply()


class MisbehavingServer:
    """On the loopback; a context that closes it."""

    def __init__(self) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"outer": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.behave(proper)

    def behave(self, behaviour: Behaviour, image: int = 85) -> None:
        """From now on so, with nothing billed; `image` tokens for each picture."""
        self.behaviour = behaviour
        self.image = image
        self.bill = 0
        self.calls: Counter[Role] = Counter()
        self.requests: Counter[bytes] = Counter()
        self.keys: set[str] = set()

    def models(self, **options: Any) -> Models:
        """Who asks it."""
        named = {"base_url": self.url, "api_key_env": None, "timeout": 5.0, "max_tokens": 500, **options}
        return Models(**{role: OpenAIModel(role, **named) for role in ROLES})

    def __enter__(self) -> MisbehavingServer:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        """One request, answered and billed."""
        data = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.keys.add(handler.headers.get("Authorization", ""))
        fields = json.loads(data)
        content = fields["messages"][-1]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        role, images = cast("Role", fields["model"]), sum(part["type"] != "text" for part in parts)
        with self._lock:
            asked = Asked(role, text, images, self.calls[role], self.requests[data])
            self.calls[role] += 1
            self.requests[data] += 1
        reply = self.behaviour(asked)
        time.sleep(reply.wait)
        said = properly(role, text) if reply.content is None else reply.content
        prompt, answer = len(text) // 4 + images * self.image, 20 + reply.hidden
        if reply.status == 200:
            with self._lock:
                self.bill += prompt + answer
        right = {"prompt_tokens": prompt, "completion_tokens": 20, "total_tokens": prompt + answer}
        message = {"role": "assistant", "content": said, **reply.message}
        body: Any = {"choices": [{"message": message, "finish_reason": reply.finish}]}
        body["usage"] = right if reply.usage == "right" else reply.usage
        self._send(handler, reply, json.dumps(body).encode() if reply.body is None else reply.body)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, reply: Reply, data: bytes) -> None:
        try:
            handler.send_response(reply.status)
            for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(data)
        except OSError:
            handler.close_connection = True  # the client left


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    outer: MisbehavingServer

    def do_POST(self) -> None:
        self.outer.reply(self)

    def log_message(self, *arguments: Any) -> None:
        pass
