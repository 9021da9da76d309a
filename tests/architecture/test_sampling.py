from tests.sampling import spread


def test_kept_cases_are_spread_and_as_many_as_asked_for():
    assert spread(31, 4) == {0, 10, 20, 30}
    assert spread(5, 1) == {0}
    assert spread(3, 8) == {0, 1, 2}
    assert all(len(spread(n, k)) == min(n, k) for n in range(1, 40) for k in range(1, 12))
