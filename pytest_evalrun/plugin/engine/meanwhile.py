"""While an item runs here, which may take hours, a thread looks after the cluster: what has a slot is submitted."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

# An item that is over within this needs nobody.
TURN_SECONDS = 1.0


class Meanwhile:
    """Calls ``attend`` again and again during a block, and never beside anything else that this launch does.

    Pytest knows of no second thread, so what it is to hear (``say``) waits for the end of the block. The block ends
    once ``attend`` has returned, however a person hurries (``whole``).
    """

    def __init__(
        self, attend: Callable[[], None], say: Callable[[str], None], whole: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._attend = attend
        self._say = say
        self._whole_here = whole
        self._home = threading.get_ident()
        self._texts: list[str] = []
        self._trouble: Exception | None = None

    def say(self, text: str) -> None:
        if self._is_home:
            self._say(text)
        else:
            self._texts.append(text)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Signals come to pass in the thread of the session alone, so that the other one holds none back."""
        if self._is_home:
            with self._whole_here():
                yield
        else:
            yield

    @property
    def _is_home(self) -> bool:
        return threading.get_ident() == self._home

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Raises what ``attend`` has raised, at the end."""
        ended = threading.Event()
        thread = threading.Thread(target=self._run, args=(ended,), name="evalrun-engine", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._whole_here():
                ended.set()
                thread.join()
            texts, self._texts = self._texts, []
            for text in texts:
                self._say(text)
        if (trouble := self._trouble) is not None:
            self._trouble = None
            raise trouble

    def _run(self, ended: threading.Event) -> None:
        while self._trouble is None and not ended.wait(TURN_SECONDS):
            try:
                self._attend()
            except Exception as error:  # noqa: BLE001 - raised again where somebody waits for it
                self._trouble = error
