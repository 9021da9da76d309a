"""Cases of a costly test that the default run takes, and those that only the slow run takes.

A test marked `sampled(k)` runs k of its cases by default, evenly spread over their order, the
first and the last among them; the others are marked `slow`. For tests whose every case compiles a
program of its own.
"""

import pytest


def spread(count, kept):
    """Indices of `kept` of `count` cases, evenly spread, the first and the last among them."""
    if kept >= count:
        return set(range(count))
    if kept == 1:
        return {0}
    return {round(i * (count - 1) / (kept - 1)) for i in range(kept)}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what is not sampled, before pytest chooses by marks."""
    cases = {}
    for item in items:
        if item.get_closest_marker("sampled"):
            cases.setdefault((item.path, item.originalname), []).append(item)
    for found in cases.values():
        kept = spread(len(found), found[0].get_closest_marker("sampled").args[0])
        for number, item in enumerate(found):
            if number not in kept:
                item.add_marker(pytest.mark.slow)
