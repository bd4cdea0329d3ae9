"""Prints what the Autobahn test suite found; exits with 1 unless all is well. Runs on the suite's own Python 2.7.

    python report.py PATTERN,PATTERN... FOLDER...

The patterns say which cases there should be, each folder holds the results of some of them. Without a folder it
only says whether there are such cases.
"""

from __future__ import print_function

import io
import json
import os
import sys
import warnings

# Its libraries complain about their age.
warnings.simplefilter("ignore")

from autobahntestsuite.case import CaseBasename, CaseCategories, Cases, CaseSetname, CaseSubCategories
from autobahntestsuite.caseset import CaseSet

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")


def wanted(patterns):
    """The numbers of the cases that fit the patterns, in order."""
    cases = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
    known = set(cases.CasesIndices)
    return [case for case in cases.parseSpecCases({"cases": patterns}) if case in known]


def results(folders):
    """What was found, by the case's number: behaviour, behaviour at the close, and where the report is."""
    found = {}
    for folder in folders:
        path = os.path.join(folder, "index.json")
        if os.path.exists(path):
            with io.open(path, encoding="utf-8") as index:
                for cases in json.load(index).values():
                    for case, result in cases.items():
                        report = os.path.join(folder, result["reportfile"])
                        found[case] = (result["behavior"], result["behaviorClose"], report)
    return found


def words(report):
    """The suite's own words about a case: what it did, and what came of it."""
    with io.open(report, encoding="utf-8") as text:
        details = json.load(text)
    plain = " ".join(details["description"].split("<")[0].split())
    return plain, details["result"], details["resultClose"]


def main():
    patterns, folders = sys.argv[1].split(","), sys.argv[2:]
    for pattern in patterns:
        if not wanted([pattern]):
            print("error: no case fits `%s`" % pattern, file=sys.stderr)
            return 2
    if not folders:
        return 0
    cases = wanted(patterns)
    found = results(folders)

    line = "%-46s %6s %6s %11s %14s %6s"
    print(line % ("section", "cases", "OK", "NON-STRICT", "INFORMATIONAL", "other"))
    sections = []
    for case in cases:
        section = case.split(".")[0]
        if section not in sections:
            sections.append(section)
    total = [0] * 5
    for section in sections:
        mine = [case for case in cases if case.split(".")[0] == section]
        kinds = [found[case][0] if is_good(found, case) else "other" for case in mine]
        counts = [len(mine)] + [kinds.count(kind) for kind in GOOD + ("other",)]
        name = " ".join(CaseCategories.get(section, "").replace("(optional)", "").split())
        print(line % tuple(["%3s %s" % (section, name[:42])] + counts))
        total = [one + other for one, other in zip(total, counts)]
    print(line % tuple(["    all"] + total))

    bad = [case for case in cases if not is_good(found, case)]
    if bad:
        print()
    missing = [case for case in bad if case not in found]
    if missing:
        print("not run: %s" % " ".join(missing))
    for case in bad:
        if case not in found:
            continue
        behaviour, at_close, report = found[case]
        plain, result, result_close = words(report)
        print("%-8s %s, its close %s: %s" % (case, behaviour, at_close, plain))
        for text in (result, result_close):
            print("         %s" % " ".join(text.split())[:200])
        print("         %s" % report.replace(".json", ".html"))
    return 1 if bad else 0


def is_good(found, case):
    """Whether a case was run and both its parts are well."""
    return case in found and found[case][0] in GOOD and found[case][1] in GOOD


sys.exit(main())
