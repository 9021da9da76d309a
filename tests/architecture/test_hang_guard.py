"""The guard against hangs ends a test that stands still or loops, and no slow one."""

from tests.hang_guard import IDLE_SECONDS, Watch


def test_a_test_that_does_nothing_hangs():
    watch = Watch(0.0, 0.0, most_work=300.0)
    assert watch.verdict(IDLE_SECONDS - 1, 0.1) is None
    assert "did nothing" in watch.verdict(IDLE_SECONDS + 1, 0.1)


def test_a_slow_test_goes_on_as_long_as_it_works():
    watch = Watch(0.0, 0.0, most_work=300.0)
    for second in range(0, 6000, 100):  # 1 % of a core
        assert watch.verdict(float(second), second / 100) is None


def test_a_test_that_loops_ends():
    watch = Watch(0.0, 50.0, most_work=300.0)
    assert watch.verdict(301.0, 349.0) is None
    assert "350 processor-seconds" in watch.verdict(302.0, 351.0)
