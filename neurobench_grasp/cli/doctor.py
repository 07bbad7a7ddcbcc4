"""``ngb doctor``: what is installed, what is missing, and how to install it."""

from __future__ import annotations

from collections import Counter

from neurobench_grasp.cli.terminal import Json, Result, table


def doctor(as_json: Json = False) -> Result:
    """Examine the installation and the machine; exit code 1 if scoring would not work."""
    from neurobench_grasp import doctor as examination

    findings = examination.examine()
    failing = [f.item for f in findings if f.needed and f.status != examination.OK]
    rows = [(f.item, f.found, f.status, f.advice) for f in findings]
    counts = Counter(f.status for f in findings)
    summary = (
        f"`ngb score` will not work before this is fixed: {', '.join(failing)}."
        if failing
        else "`ngb score` has everything it needs"
        + (f"; {counts[examination.MISSING]} missing" if counts[examination.MISSING] else "")
        + (f"; {counts[examination.PROBLEM]} with a problem" if counts[examination.PROBLEM] else "")
        + "."
    )
    view = [table("item", "found", "status", "what to do", rows=rows), "", summary]
    return Result(examination.as_json(findings), view, exit_code=1 if failing else 0)
