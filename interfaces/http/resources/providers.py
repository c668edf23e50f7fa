"""Providers: their capabilities, and whether each is ready."""

from application.ports.providers import ProviderState, Readiness
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.queries import ReadQuery
from interfaces.http.resources.reading import within_log
from interfaces.http.resources.views import AnswerBody


class ProviderView(AnswerBody, frozen=True, kw_only=True):
    """`version`: of its CLI; empty if there is none. `readiness`: `ready`; `environment_not_ready` if the CLI or its
    credentials are missing; `runtime_unhealthy` if the worker runtime does not answer. `reason` says why it is not
    ready. `readinessCategory`: `readiness`."""

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
    readiness_category: Readiness
    reason: str


class ProviderList(AnswerBody, frozen=True, kw_only=True):
    providers: tuple[ProviderView, ...]
    as_of_position: int


async def list_providers(call: ApiCall[None, ReadQuery]) -> JsonAnswer:
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    shown = tuple(_view(state) for state in sorted(await call.deps.providers.all(), key=lambda state: state.name))
    return JsonAnswer(ProviderList(providers=shown, as_of_position=await call.deps.store.last_position()))


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
        readiness_category=state.readiness,
        reason=state.reason,
    )


ENDPOINTS = (
    Endpoint(
        name="listProviders",
        method="GET",
        path="/api/providers",
        handler=list_providers,
        tag="providers",
        summary="Capabilities and readiness of each provider",
        query=ReadQuery,
        answers={200: ProviderList},
    ),
)
