"""Settled usage: of one run, and summed."""

from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import ReadQuery, Text
from interfaces.http.reading import found, shown_as
from interfaces.http.views import View
from projections.usage import Dimension, RunUsage


class RunUsageRead(RunUsage, frozen=True, kw_only=True):
    as_of_position: int
