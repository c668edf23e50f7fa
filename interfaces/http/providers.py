"""Providers: what each can do, and whether it could run now."""

from domain.run.capabilities import ALIASES, PROVIDERS
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import ReadQuery
from interfaces.http.reading import within_log
from interfaces.http.views import View


class ProviderView(View, frozen=True, kw_only=True):
    """`ready` with `detail`: what is missing where it is false. `humanLoop` of `scripted` needs
    `providerOptions.interactive: true`."""

    provider: str
    aliases: tuple[str, ...]
    resume: bool
    human_loop: bool
    todo_stream: bool
    build_plan_mode: bool
    execution_profiles: tuple[str, ...]
    ready: bool
    detail: str


class ProviderList(View, frozen=True, kw_only=True):
    providers: tuple[ProviderView, ...]
    as_of_position: int


async def list_providers(call: Call[None, ReadQuery]) -> Answer:
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    shown = []
    for name, known in sorted(PROVIDERS.items()):
        readiness = await call.deps.providers.of(name)
        shown.append(
            ProviderView(
                provider=name,
                aliases=tuple(alias for alias, target in sorted(ALIASES.items()) if target == name),
                resume=known.resume,
                human_loop=known.human_loop,
                todo_stream=known.todo_stream,
                build_plan_mode=known.build_plan_mode,
                execution_profiles=known.execution_profiles,
                ready=readiness.ready,
                detail=readiness.detail,
            )
        )
    return Answer(ProviderList(providers=tuple(shown), as_of_position=await call.deps.store.last_position()))


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
