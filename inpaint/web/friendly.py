"""Our own errors on the page: a message for the visitor, no traceback in the log."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from inpaint.errors import InpaintError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def friendly(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Turn an :class:`InpaintError` of an event's function into Gradio's message to the visitor."""

    @wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        try:
            return function(*arguments, **named)
        except InpaintError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return call
