"""What a recorder of the log does beyond the library's interface: it reads in pages whose bytes are bounded."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

from eventsourcing.persistence import ApplicationRecorder, Notification

from infrastructure.postgres.event_store.reading import PAGE_BYTES, PAGE_EVENTS


class PagedRecorder(ApplicationRecorder):
    """`select_notifications` gives as many as its caller asks for, because the library takes fewer for the end of the
    log. These are bounded by themselves."""

    @abstractmethod
    def notifications_page(self, after: int, topics: Sequence[str] = ()) -> Sequence[Notification]:
        """The notifications after a position that make a page; none at the end of the log."""

    @abstractmethod
    def last_position(self) -> int:
        """The log's, over all tenants; 0 if it is empty."""

    @abstractmethod
    def exported_lines(self, after: int, up_to: int) -> Iterator[bytes]:
        """The events of all tenants in (after, up_to], as `fleetlog export` writes them, some whole lines at a time."""


def is_whole_page(page: Sequence[Notification]) -> bool:
    """Whether there may be more behind it."""
    return len(page) >= PAGE_EVENTS or sum([len(each.state) for each in page]) >= PAGE_BYTES
