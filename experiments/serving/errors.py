"""What a request gets in place of an answer, as OpenAI's API has it."""

from __future__ import annotations

from http import HTTPStatus


class ApiError(Exception):
    """A request that gets an error body instead of an answer.

    Args:
        status: Of HTTP.
        message: What is wrong.
        code: The API's name for it.
        parameter: The field that is wrong.
    """

    def __init__(self, status: HTTPStatus, message: str, code: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        kind = "requests" if status == HTTPStatus.TOO_MANY_REQUESTS else kind
        self.body = {"error": {"message": message, "type": kind, "param": parameter, "code": code}}
