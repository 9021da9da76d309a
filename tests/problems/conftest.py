"""Programs and the finished run that tests of `run` share."""

from tests.run.conftest import _shared_programs, finished  # noqa: F401
