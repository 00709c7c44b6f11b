"""A second server, which knows nothing of the built-in scenes: it does to answers and bills what it is told.

It answers properly unless its behaviour says otherwise, and keeps a bill as a provider does, of what never arrives too.
It has files and batches, as OpenAI's API has them.
"""

from __future__ import annotations

import base64
import email
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from PIL import Image

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
    choice: dict[str, Any] = field(default_factory=dict)
    """Further fields of the choice."""
    beside: dict[str, Any] = field(default_factory=dict)
    """Further fields of the body."""
    pieces: bool = False
    """As a stream."""


@dataclass(frozen=True)
class Asked:
    """A request: whose, with which words, and the how many-eth it is, from 0, of its role and of its words."""

    role: Role
    text: str
    images: int
    number: int
    time: int
    fields: dict[str, Any]


Behaviour = Callable[[Asked], Reply]


def proper(asked: Asked) -> Reply:
    return Reply()


def in_pieces(body: dict[str, Any]) -> bytes:
    """A body as a stream."""
    (choice,) = body["choices"]
    words = choice["message"].pop("content").split(" ")
    said = [{"choices": [{"delta": {"content": f"{word} "}, "finish_reason": None}], "usage": None} for word in words]
    last = {"choices": [{"delta": {}, "finish_reason": choice["finish_reason"]}], "usage": None}
    pieces = [*said, last, {"choices": [], "usage": body["usage"]}]
    told = [f"data: {json.dumps(piece)}\n\n" for piece in pieces] + ["data: [DONE]\n\n"]
    return "".join(told).encode()


class MisbehavingServer:
    """On the loopback; a context that closes it."""

    def __init__(self) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"outer": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.behave(proper)

    def behave(self, behaviour: Behaviour, image: float | Callable[[tuple[int, int]], float] = 85) -> None:
        """From now on so, with nothing billed; `image` tokens for each picture, or as its (height, width) has it."""
        self.behaviour = behaviour
        self.image = image
        self.bill = self.batch_bill = 0
        self.prompts: Counter[Role] = Counter()
        self.calls: Counter[Role] = Counter()
        self.requests: Counter[bytes] = Counter()
        self.keys: set[str] = set()
        self.headers: list[dict[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polled: Callable[[dict[str, Any]], dict[str, Any]] = lambda batch: {"status": "completed"}

    def models(self, **options: Any) -> Models:
        """Who asks it."""
        named = {
            "base_url": self.url,
            "server": "misbehaving",
            "api_key_env": None,
            "timeout": 5.0,
            "max_tokens": 500,
            **options,
        }
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
        data = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
        self.keys.add(handler.headers.get("Authorization", ""))
        self.headers.append(dict(handler.headers))
        path = handler.path.removeprefix("/v1/").split("?")[0]
        if path != "chat/completions":
            body = self._kept(path, data, handler.headers.get("Content-Type", ""))
            self._send(handler, Reply(), body if isinstance(body, bytes) else json.dumps(body).encode())
            return
        reply, answer, billed = self._answer(json.loads(data), data)
        with self._lock:
            self.bill += billed
        self._send(handler, reply, answer)

    def _answer(self, fields: dict[str, Any], data: bytes) -> tuple[Reply, bytes, int]:
        """What is sent for a request, and the tokens that it is billed."""
        contents = [message["content"] for message in fields["messages"]]
        listed = [[{"type": "text", "text": said}] if isinstance(said, str) else said for said in contents]
        text = "\n".join(part["text"] for part in listed[-1] if part["type"] == "text")
        pictures = [part["image_url"]["url"] for part in listed[-1] if part["type"] != "text"]
        role = cast("Role", fields["model"])
        with self._lock:
            asked = Asked(role, text, len(pictures), self.calls[role], self.requests[data], fields)
            self.calls[role] += 1
            self.requests[data] += 1
        reply = self.behaviour(asked)
        time.sleep(reply.wait)
        said = properly(role, text) if reply.content is None else reply.content
        words = sum(len(part["text"]) for parts in listed for part in parts if part["type"] == "text")
        prompt = words // 4 + round(sum(map(self._tokens, pictures)))
        answer = 20 + reply.hidden
        right = {"prompt_tokens": prompt, "completion_tokens": 20, "total_tokens": prompt + answer}
        message = {"role": "assistant", "content": said, **reply.message}
        body: Any = {"choices": [{"message": message, "finish_reason": reply.finish, **reply.choice}], **reply.beside}
        body["usage"] = right if reply.usage == "right" else reply.usage
        sent = in_pieces(body) if reply.pieces else json.dumps(body).encode()
        billed = prompt + answer if reply.status == 200 else 0
        with self._lock:
            self.prompts[role] += prompt if billed else 0
        return reply, sent if reply.body is None else reply.body, billed

    def _tokens(self, picture: str) -> float:
        if not callable(self.image):
            return self.image
        with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
            return self.image((image.height, image.width))

    # --- files and batches ------------------------------------------------------------------------------------------

    def _kept(self, path: str, data: bytes, kind: str) -> Any:
        with self._lock:
            match path.split("/"):
                case ["files"]:
                    parts = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data)
                    sent = {str(part.get_param("name", header="content-disposition")): part for part in parts.walk()}
                    return {"id": self._file(cast("bytes", sent["file"].get_payload(decode=True))), "object": "file"}
                case ["files", name, "content"]:
                    return self.files[name]
                case ["batches"] if data:
                    name = f"batch-{len(self.batches)}"
                    self.batches[name] = {"id": name, "status": "validating", **json.loads(data)}
                    return self.batches[name]
                case ["batches"]:
                    return {"object": "list", "data": list(self.batches.values()), "has_more": False}
                case ["batches", name]:
                    batch = self.batches[name]
        batch |= self.polled(batch)
        if batch["status"] == "completed" and "output_file_id" not in batch:
            lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
            output = b"".join(self._batched(line) for line in reversed(lines))
            batch["output_file_id"] = self._file(output)
        return batch

    def _file(self, content: bytes) -> str:
        self.files[f"file-{len(self.files)}"] = content
        return f"file-{len(self.files) - 1}"

    def _batched(self, line: dict[str, Any]) -> bytes:
        reply, body, billed = self._answer(line["body"], json.dumps(line["body"]).encode())
        self.batch_bill += billed
        response = {"status_code": reply.status, "request_id": "1", "body": json.loads(body)}
        return (
            json.dumps({"id": "1", "custom_id": line["custom_id"], "response": response, "error": None}).encode()
            + b"\n"
        )

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

    def do_GET(self) -> None:
        self.outer.reply(self)

    def log_message(self, *arguments: Any) -> None:
        pass
