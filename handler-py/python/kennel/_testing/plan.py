"""What `kennel test` has a process do: run a file's tests, perhaps only some of them."""

from __future__ import annotations

import json
import os
from typing import Any, Dict


def take() -> Dict[str, Any]:
    """Takes the plan out of the environment, so that processes of the tests do not see it."""
    plan: Dict[str, Any] = json.loads(os.environ.pop("KENNEL_TEST"))
    return plan


def wanted(plan: Dict[str, Any], name: str) -> bool:
    """Whether the test of this name is to run."""
    return not plan["filter"] or plan["filter"] in name
