"""Providers: what each can do, and whether it could run now."""

from application.providers import ProviderState, Readiness
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import ReadQuery
from interfaces.http.reading import within_log
from interfaces.http.views import View


class ProviderView(View, frozen=True, kw_only=True):
    """`version` of its CLI, where it has one. `readiness`: `ready`; `environment_not_ready` when the CLI or its
    credentials are missing, `runtime_unhealthy` when the workers' runtime does not answer, both with the `reason`."""

    provider: str
    aliases: tuple[str, ...]
    version: str
    resume: bool
    human_loop: bool
    todo_stream: bool
    build_plan_mode: bool
    execution_profiles: tuple[str, ...]
    human_loop_hint: str
    readiness: Readiness
    reason: str


class ProviderList(View, frozen=True, kw_only=True):
    providers: tuple[ProviderView, ...]
    as_of_position: int


async def list_providers(call: Call[None, ReadQuery]) -> Answer:
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    shown = tuple(_view(state) for state in sorted(await call.deps.providers.all(), key=lambda state: state.name))
    return Answer(ProviderList(providers=shown, as_of_position=await call.deps.store.last_position()))


def _view(state: ProviderState) -> ProviderView:
    can = state.capabilities
    return ProviderView(
        provider=state.name,
        aliases=state.aliases,
        version=state.version,
        resume=can.resume,
        human_loop=can.human_loop,
        todo_stream=can.todo_stream,
        build_plan_mode=can.build_plan_mode,
        execution_profiles=can.execution_profiles,
        human_loop_hint=can.human_loop_hint,
        readiness=state.readiness,
        reason=state.reason,
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/providers",
        handler=list_providers,
        tag="providers",
        summary="Capabilities and readiness of each provider",
        query=ReadQuery,
        answers={200: ProviderList},
    ),
)
