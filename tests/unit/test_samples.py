"""The samples of long proofs: a seed repeats its choice, another one chooses otherwise, a whole run leaves out none."""

from tests.support.samples import Samples, in_turn

CASES = [f"case {number}" for number in range(40)]


def test_a_seed_repeats_its_choice_in_the_order_of_the_cases():
    first = Samples(seed="abc", whole=False).of("a proof", CASES, 5)

    assert first == Samples(seed="abc", whole=False).of("a proof", CASES, 5)
    assert len(first) == 5
    assert first == sorted(first, key=CASES.index)


def test_over_many_commits_every_case_has_its_turn():
    seen = {case for seed in range(100) for case in Samples(seed=str(seed), whole=False).of("a proof", CASES, 5)}

    assert seen == set(CASES)


def test_a_whole_run_takes_every_case():
    whole = Samples(seed="abc", whole=True)

    assert whole.of("a proof", CASES, 5) == CASES
    assert whole.size(whole=50, sample=10) == 50
    assert all(whole.takes(case, 0.01) for case in CASES)


def test_each_kind_has_its_turn_where_there_are_groups_enough():
    groups = [[(name, kind) for kind in "abcdef"] for name in range(12)]

    taken = in_turn(groups, "seed", lambda case: case[1])

    assert [name for name, _ in taken] == list(range(12))
    assert {kind for _, kind in taken} == set("abcdef")


def test_a_group_without_the_kind_whose_turn_it_is_gives_the_next():
    groups = [[(name, kind) for kind in "ab"] for name in range(3)] + [[(3, "c")]]

    assert len(in_turn(groups, "seed", lambda case: case[1])) == 4
