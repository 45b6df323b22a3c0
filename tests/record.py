"""Records what the deep tests found: ``python -m tests.record RESULT.json JUNIT.xml ...``.

Names, outcomes and seconds of all tests in those files, and nothing of the machine but its cores.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def outcome_of(case: ET.Element) -> str:
    for outcome, tag in (("failed", "failure"), ("failed", "error"), ("skipped", "skipped")):
        if case.find(tag) is not None:
            return outcome
    return "passed"


def record(files: list[Path]) -> dict[str, object]:
    cases = [case for file in files for case in ET.parse(file).getroot().iter("testcase")]
    tests = [
        {
            "test": f"{case.get('classname')}::{case.get('name')}",
            "outcome": outcome_of(case),
            "seconds": round(float(case.get("time", 0))),
        }
        for case in cases
    ]
    outcomes = [test["outcome"] for test in tests]
    return {
        "schema": "tierplan.tests/v1",
        "versions": {"python": platform.python_version()},
        "machine": {"cores": os.cpu_count()},
        "counts": {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")},
        "tests": sorted(tests, key=lambda test: str(test["test"])),
    }


if __name__ == "__main__":
    result, *given = map(Path, sys.argv[1:])
    result.write_text(json.dumps(record(given), indent=1) + "\n", "utf-8")
