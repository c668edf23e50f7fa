"""Names of attributes: OpenTelemetry's semantic conventions, version 1.40.0, those of GenAI included; and our own.

https://opentelemetry.io/schemas/1.40.0. A test compares them with the published package of that version.
"""

from typing import Final

VERSION: Final = "1.40.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{VERSION}"

ERROR_TYPE: Final = "error.type"
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
PROCESS_EXIT_CODE: Final = "process.exit.code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
INVOKE_AGENT: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
OF_PROVIDER: Final = {"claude-code": "anthropic", "codex": "openai"}
"""What `gen_ai.provider.name` is for the agents whose models come from one maker; of others it is the agent's name."""

EVENT_TYPE: Final = "fleetlog.event.type"
EVENT_STREAM: Final = "fleetlog.event.stream"
EVENT_SEQ: Final = "fleetlog.event.seq"
EVENT_POSITION: Final = "fleetlog.event.position"
COMMAND_ID: Final = "fleetlog.command.id"
RUN_ID: Final = "fleetlog.run.id"
SESSION_ID: Final = "fleetlog.session.id"
ATTEMPT: Final = "fleetlog.attempt"
LEASE_GENERATION: Final = "fleetlog.lease.generation"
LEASE_OWNER: Final = "fleetlog.lease.owner"
OUTCOME: Final = "fleetlog.outcome"
EFFECT_ID: Final = "fleetlog.effect.id"
EFFECT_KIND: Final = "fleetlog.effect.kind"
EXECUTOR_OPERATION: Final = "fleetlog.executor.operation"
SYNC_REASON: Final = "fleetlog.sync.reason"
SYNC_UPLOADED_BYTES: Final = "fleetlog.sync.uploaded_bytes"
SYNC_UPLOADED_FILES: Final = "fleetlog.sync.uploaded_files"
COST_USD: Final = "fleetlog.cost_usd"
