"""Work that is not urgent gives way to other work of its process."""

from application.pace import LONGEST_REST_S, RESTS, RESTS_WHEN_LATE, Pace


class Process:
    """Its clocks, in seconds."""

    def __init__(self) -> None:
        self.now, self.used = 100.0, 10.0
        self.pace = Pace(lambda: self.now, lambda: self.used)

    def pause_after(self, seconds: float, *, used: float, spent: float) -> float:
        self.now, self.used = self.now + seconds, self.used + used
        return self.pace.pause_s(spent)


def test_in_a_process_with_little_else_to_do_it_does_not_rest() -> None:
    assert Process().pause_after(1, used=0.33, spent=0.3) == 0


def test_in_a_busy_process_it_rests_many_times_as_long_as_it_worked() -> None:
    assert Process().pause_after(1, used=0.9, spent=0.01) == RESTS * 0.01


def test_its_own_work_does_not_count_as_other_work() -> None:
    assert Process().pause_after(1, used=0.9, spent=0.88) == 0


def test_when_it_is_late_it_takes_more_of_the_time() -> None:
    process = Process()
    process.pace.late = True

    assert process.pause_after(1, used=0.9, spent=0.01) == RESTS_WHEN_LATE * 0.01


def test_no_rest_is_longer_than_the_longest() -> None:
    process = Process()
    process.pause_after(1, used=1, spent=0.1)

    assert process.pause_after(10, used=10, spent=1) == LONGEST_REST_S
