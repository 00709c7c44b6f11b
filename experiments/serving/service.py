"""What a server has: the model, its queue, and what is let in."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Set
from http import HTTPStatus

from datamodules.batching.processor import Processed
from datamodules.errors import DataError
from datamodules.reading.likely_mistakes import likely_mistakes
from experiments.serving.answer_queue import AnswerQueue, Waiting
from experiments.serving.chat_answer import ChatAnswer
from experiments.serving.chat_request import ChatRequest, parse_request
from experiments.serving.errors import ApiError
from experiments.serving.limits import Limits
from lightning_modules.generation.streaming import Hear, StreamedAnswer
from lightning_modules.region_module import RegionModule


class Service:
    """One model that is served.

    Args:
        module: The model, ready to answer, on its device.
        name: What clients call it.
        limits: What a request may take.
        max_batch: Most questions that are answered together.
        key: What clients have to send; None lets everybody in.
        hosts: Where images are fetched from.
    """

    def __init__(
        self,
        module: RegionModule,
        name: str,
        limits: Limits = Limits(),  # noqa: B008  # it is frozen
        max_batch: int = 16,
        key: str | None = None,
        hosts: Set[str] = frozenset(),
    ) -> None:
        self.module = module
        self.name = name
        self.limits = limits
        self.key = key
        self.hosts = hosts
        self.queue = AnswerQueue(module, max_batch)
        self.under_way = 0
        self._one_at_a_time = threading.Lock()

    def authorise(self, authorisation: str) -> None:
        """Refuses a request whose `Authorization` does not carry the key."""
        sent = authorisation.removeprefix("Bearer ").strip()
        if self.key is not None and not hmac.compare_digest(sent.encode(), self.key.encode()):
            raise ApiError(HTTPStatus.UNAUTHORIZED, "no API key, or another one", "invalid_api_key")

    def enter(self) -> None:
        """Lets one request in, which has to `leave`; refuses it if there are too many."""
        if self.under_way >= self.limits.requests:
            message = f"{self.under_way} requests are under way, which is the most"
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message, "overloaded")
        self.under_way += 1

    def leave(self) -> None:
        """See `enter`."""
        self.under_way -= 1

    def read(self, body: bytes) -> tuple[ChatRequest, Processed]:
        """What is asked, checked and ready to be collated; takes a while.

        Raises:
            DataError: It cannot be asked.
            ApiError: Likewise, with a status of its own.
        """
        asked = parse_request(body, self.name, self.limits, self.hosts)
        with self._one_at_a_time:  # nobody says that tokenizers and image processors may be called by several threads
            processed = self.module.processor(asked.num_frames)(asked.sample)
        self._check_length(processed.rendered.prompt_length + self._most_tokens(asked))
        return asked, processed

    def ask(
        self,
        asked: ChatRequest,
        processed: Processed,
        hear: Hear,
        end: Callable[[], object],
        fail: Callable[[Exception], object],
    ) -> ChatAnswer:
        """Puts a question into the queue, and hands out what will be its answer.

        Args:
            asked: From `read`.
            processed: From `read`.
            hear: Told pieces, as by `StreamedAnswer`, in the queue's thread.
            end: Called behind the last piece.
            fail: Told what has gone wrong instead.
        """
        answer = StreamedAnswer(self._most_tokens(asked), hear, end)
        sample = asked.sample
        said = ChatAnswer(self.name, answer, sample.regions, processed.rendered.prompt_length, likely_mistakes(sample))
        self.queue.put(Waiting(processed, answer, fail))
        return said

    def _most_tokens(self, asked: ChatRequest) -> int:
        usual = min(self.module.max_new_tokens, self.limits.new_tokens)
        return usual if asked.max_tokens is None else asked.max_tokens

    def _check_length(self, tokens: int) -> None:
        """Refuses what the language model has no positions for."""
        config = self.module.backbone.model.config.get_text_config()
        most = getattr(config, "max_position_embeddings", None)
        if most is not None and tokens > most:
            raise DataError(f"messages: {tokens} tokens with the longest answer, the model reads at most {most}")
