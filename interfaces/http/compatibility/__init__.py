"""What clients of the system that Fleetlog replaces expect: older names beside the API's own, translated here.

Version: the last one of that system. Source: the requests and names of its portal, all of which
docs/reference/compatibility.md lists. Nothing here adds state, an event or a rule.
"""
