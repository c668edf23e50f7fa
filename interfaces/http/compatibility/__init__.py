"""What clients of the system that Fleetlog replaces expect: older names beside the API's own, translated here.

docs/reference/compatibility.md has the whole table. Nothing here adds state, an event or a rule.
"""
