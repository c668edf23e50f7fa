"""The library's subscriptions, on one shared listening thread instead of one each."""

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import ListenNotifySubscription, ShutDown

from infrastructure.eventsourcing_library.notifier import ThreadNotifier
from infrastructure.eventsourcing_library.paged_recorder import PagedRecorder, is_whole_page


class LogSubscription(ListenNotifySubscription[PagedRecorder]):
    """Goes on after a lost connection, and misses nothing between its first read and the first NOTIFY: the notifier
    wakes it at intervals too. It reads in pages whose bytes are bounded, because it reads ahead by ten of them."""

    def __init__(
        self,
        recorder: PagedRecorder,
        notifier: ThreadNotifier,
        *,
        gt: int | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._notifier = notifier
        notifier.add(self._has_been_notified)

    def _pull(self) -> None:
        while not self._has_been_stopped:
            self._has_been_notified.clear()
            page = self._recorder.notifications_page(self._last_notification_id or 0, self._topics)
            if page:
                try:
                    self._notifications_queue.put(page)
                except ShutDown:
                    return
                self._last_notification_id = page[-1].id
            if not is_whole_page(page):
                return

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        try:
            super().__exit__(*args, **kwargs)
        finally:
            self._notifier.remove(self._has_been_notified)
