"""What tests tell whoever runs them, beside that they pass or fail."""

from __future__ import annotations

from typing import List, Optional

#: Where a runner wants to find what apps log as errors. Nothing: it goes to standard error, which pytest shows with
#: the test.
errors: Optional[List[str]] = None


class Skipped(BaseException):
    """The running test cannot be run here."""

    __module__ = "kennel.testing"
