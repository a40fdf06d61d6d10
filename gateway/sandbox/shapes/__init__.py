"""Records as the JSON objects of Stripe's API version 2026-10-28.endive. Pure; ids are not expanded.

Every object that leaves the sandbox is made here, and `tests/sandbox/test_schema.py` compares each with
the annotations of the pinned SDK.
"""
