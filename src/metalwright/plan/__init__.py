"""Desired, observed and memory compared into a plan; the plan checked, attributed and shown.

Pure: it reads no clock, asks no hardware and changes nothing.
"""

from metalwright.plan.attribute import Attributed, attribute
from metalwright.plan.check import check
from metalwright.plan.checked import Checked
from metalwright.plan.context import PlanContext
from metalwright.plan.encode import from_json, plan_schema, to_json
from metalwright.plan.make import make
from metalwright.plan.memo import Memo
from metalwright.plan.records import unchanged_records
from metalwright.plan.release import Missing, Release, gated, needed, releases
from metalwright.plan.render import render_text
from metalwright.plan.replacement import replacements
from metalwright.plan.verdict import exit_code

__all__ = [
    "Attributed",
    "Checked",
    "Memo",
    "Missing",
    "PlanContext",
    "Release",
    "attribute",
    "check",
    "exit_code",
    "from_json",
    "gated",
    "make",
    "needed",
    "plan_schema",
    "releases",
    "render_text",
    "replacements",
    "to_json",
    "unchanged_records",
]
