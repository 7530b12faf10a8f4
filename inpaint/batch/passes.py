"""Passes of one network that several images share: windows of one shape are computed together."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Request:
    """What one image asks of the network, and its answer to come."""

    network: Network
    image: Tensor
    mask: Tensor
    answer: Future[Tensor] = field(default_factory=Future)

    @property
    def key(self) -> tuple[int, ...]:
        return id(self.network), *self.image.shape[1:]


class SharedPasses:
    """Fills several images in threads; once all of them wait for the network, it answers all.

    A pass holds what was asked in one shape. Answers differ from those of single passes by rounding alone.
    """

    def __init__(self) -> None:
        self._lock, self._asked, self._active = threading.Lock(), list[_Request](), 0

    def share(self, network: Network) -> Network:
        """The network as the threads call it: ``(image, mask) -> prediction``, the batch first."""
        return partial(self._ask, network)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Call a function, which uses shared networks and raises nothing, with all items at once."""

        def work(item: Item) -> Result:
            try:
                return function(item)
            finally:
                with self._lock:
                    self._active -= 1
                    self._answer_all()

        self._active = len(items)
        with ThreadPoolExecutor(len(items)) as threads:
            return list(threads.map(work, items))

    def _ask(self, network: Network, image: Tensor, mask: Tensor) -> Tensor:
        request = _Request(network, image, mask)
        with self._lock:
            self._asked.append(request)
            self._answer_all()
        return request.answer.result()

    def _answer_all(self) -> None:
        """Answer everyone, if everyone waits."""
        if len(self._asked) >= self._active:
            asked, self._asked = sorted(self._asked, key=lambda request: request.key), []
            for _, group in groupby(asked, key=lambda request: request.key):
                _answer(list(group))


@torch.inference_mode()
def _answer(requests: Sequence[_Request]) -> None:
    try:
        images, masks = (torch.cat([getattr(one, name) for one in requests]) for name in ("image", "mask"))
        answers = requests[0].network(images, masks).split([len(one.image) for one in requests])
        for request, answer in zip(requests, answers, strict=True):
            request.answer.set_result(answer)
    except Exception as error:
        if len(requests) == 1:
            requests[0].answer.set_exception(error)
            return
        for request in requests:  # too little memory for all of them, perhaps
            _answer([request])
