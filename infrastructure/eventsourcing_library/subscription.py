"""The library's subscriptions, on one shared listening thread instead of one each."""

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import ApplicationRecorder, ListenNotifySubscription

from infrastructure.eventsourcing_library.notifier import ThreadNotifier


class LogSubscription(ListenNotifySubscription[ApplicationRecorder]):
    """Goes on after a lost connection, and misses nothing between its first read and the first NOTIFY: the notifier
    wakes it at intervals too."""

    def __init__(
        self,
        recorder: ApplicationRecorder,
        notifier: ThreadNotifier,
        *,
        gt: int | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._notifier = notifier
        notifier.add(self._has_been_notified)

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        try:
            super().__exit__(*args, **kwargs)
        finally:
            self._notifier.remove(self._has_been_notified)
