"""The agent's CLI, the turns of its model and the calls of its tools, as the events of a run show them.

A turn is the time in which the model has the word: from the agent's start, its last message or the end of its last tool
to its next message or tool. Events carry the time at which the control plane recorded them.
"""

from datetime import datetime, timedelta

from application.observation import conventions as c
from application.observation.span import Span, Value, in_order, span_id_of
from domain.run import events as e
from domain.run.values import RunSpec

MOST_TOOLS = 1000
"""Tools under way at once; of further ones there are no spans."""


class AgentTurns:
    """One attempt's agent, from `started`. `parent_id`: of the lease that it was started under."""

    def __init__(
        self, spec: RunSpec, run_id: str, attempt: int, *, trace_id: str, parent_id: str, started: datetime
    ) -> None:
        self._spec, self._name = spec, f"{run_id}/{attempt}/agent"
        self._trace_id, self._parent_id, self._started = trace_id, parent_id, started
        self._about: dict[str, Value] = {c.RUN_ID: run_id, c.SESSION_ID: spec.session_id, c.ATTEMPT: attempt}
        self._turn_since: datetime | None = started
        self._last_stop = started
        self._tools: dict[str, tuple[str, datetime]] = {}

    def see(self, event: object, seq: int, at: datetime) -> tuple[Span, ...]:
        """The spans that end with this event of the run, its `seq` in the run's stream. They are named by it: an agent
        may use a tool's id twice."""
        match event:
            case e.MessageStopped():
                began = self._turn_since or self._last_stop
                self._turn_since, self._last_stop = None, at
                return (self._turn(seq, began, at),)
            case e.ToolStarted():
                since, self._turn_since = self._turn_since, None
                if len(self._tools) < MOST_TOOLS:
                    self._tools[event.tool_id] = event.name, at
                return (self._turn(seq, since, at),) if since is not None else ()
            case e.ToolEnded():
                return self._tool_ended(event, seq, at)
            case _:
                return ()

    def ended(self, at: datetime, *, error: str, finished: e.RunAgentFinished | None = None) -> Span:
        """The span of the agent. `finished`: what its provider said at the end, if it could."""
        about = self._of_model(c.INVOKE_AGENT) | {c.GEN_AI_AGENT_NAME: self._spec.provider}
        if finished is not None:
            usage = finished.usage
            about[c.OUTCOME] = finished.outcome
            about[c.GEN_AI_USAGE_INPUT_TOKENS] = usage.input_tokens
            about[c.GEN_AI_USAGE_OUTPUT_TOKENS] = usage.output_tokens
            optional: dict[str, Value | None] = {
                c.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_input_tokens,
                c.COST_USD: usage.cost_usd,
                c.PROCESS_EXIT_CODE: finished.exit_code,
                c.GEN_AI_CONVERSATION_ID: finished.provider_session_id or None,
            }
            about |= {name: value for name, value in optional.items() if value is not None}
        start, end = in_order(self._started, at)
        return Span(
            trace_id=self._trace_id,
            span_id=span_id_of(self._name),
            parent_id=self._parent_id,
            name=f"{c.INVOKE_AGENT} {self._spec.provider}",
            kind="client",
            start=start,
            end=end,
            attributes=about,
            error=error,
        )

    def _turn(self, seq: int, since: datetime, at: datetime) -> Span:
        start, end = in_order(since, at)
        return Span(
            trace_id=self._trace_id,
            span_id=span_id_of(f"{self._name}/turn/{seq}"),
            parent_id=span_id_of(self._name),
            name=f"{c.CHAT} {self._spec.model}".rstrip(),
            kind="client",
            start=start,
            end=end,
            attributes=self._of_model(c.CHAT),
        )

    def _tool_ended(self, event: e.ToolEnded, seq: int, at: datetime) -> tuple[Span, ...]:
        name, since = self._tools.pop(event.tool_id, (event.name, at))
        if event.duration_ms is not None:
            since = min(since, at - timedelta(milliseconds=min(event.duration_ms, 10**9)))
        if not self._tools:
            self._turn_since = at
        start, end = in_order(max(since, self._started), at)
        tool = Span(
            trace_id=self._trace_id,
            span_id=span_id_of(f"{self._name}/tool/{seq}"),
            parent_id=span_id_of(self._name),
            name=f"{c.EXECUTE_TOOL} {name or event.name}".rstrip(),
            start=start,
            end=end,
            attributes={
                c.GEN_AI_OPERATION_NAME: c.EXECUTE_TOOL,
                c.GEN_AI_TOOL_NAME: name or event.name,
                c.GEN_AI_TOOL_CALL_ID: event.tool_id,
            },
            error="" if event.ok else "tool_failed",
        )
        return (tool,)

    def _of_model(self, operation: str) -> dict[str, Value]:
        provider = self._spec.provider
        about = self._about | {
            c.GEN_AI_OPERATION_NAME: operation,
            c.GEN_AI_PROVIDER_NAME: c.OF_PROVIDER.get(provider, provider),
        }
        return about | ({c.GEN_AI_REQUEST_MODEL: self._spec.model} if self._spec.model else {})
