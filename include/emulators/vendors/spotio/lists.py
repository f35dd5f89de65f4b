"""Lists that come page by page: the first call fixes what is in them, and each scrollId is good for one more page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from emulators.vendors.spotio.state import Refused

KEPT = 200  # lists that are remembered at a time


class _Scroll(NamedTuple):
    items: Sequence[Any]
    begin: int
    size: int


class Scrolls:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._open: dict[str, _Scroll] = {}
        self._numbers = itertools.count(1)

    def first(self, items: Sequence[Any], size: int) -> tuple[Sequence[Any], str | None]:
        """The first page, and the scrollId of the next one: None when there is none."""
        return self._page(_Scroll(items, 0, size))

    def next(self, scroll_id: str) -> tuple[Sequence[Any], str | None]:
        if scroll_id not in self._open:
            raise Refused(422, _="The scroll has expired")
        return self._page(self._open[scroll_id])

    def _page(self, scroll: _Scroll) -> tuple[Sequence[Any], str | None]:
        items, begin, size = scroll
        page, end = items[begin : begin + size], begin + size
        if end >= len(items):
            return page, None
        name = f"scroll-{next(self._numbers)}"
        self._open[name] = _Scroll(items, end, size)
        if len(self._open) > KEPT:
            del self._open[next(iter(self._open))]
        return page, name
