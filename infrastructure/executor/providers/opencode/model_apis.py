"""The model providers of opencode that an installation can configure."""

from collections.abc import Iterable, Mapping

import msgspec


class ModelApi(msgspec.Struct, frozen=True, kw_only=True):
    """A model provider of opencode, and its environment variables: `credential`, `base_url`. `path`: what opencode
    wants at the end of the base URL. `npm`: the SDK package of a provider that opencode has not built in; the others
    have a `default_url`."""

    name: str
    credential: str
    base_url: str = ""
    path: str = ""
    npm: str = ""
    default_url: str = ""

    def is_configured(self, environment: Mapping[str, str]) -> bool:
        """Whether its credential is set, and its base URL if opencode has not built it in."""
        return bool(environment.get(self.credential)) and not (self.npm and not environment.get(self.base_url))

    def url(self, environment: Mapping[str, str]) -> str:
        """Where its requests go."""
        chosen = environment.get(self.base_url, "").rstrip("/") or self.default_url
        return chosen if chosen.endswith(self.path) else chosen + self.path


MODEL_APIS = (
    ModelApi(
        name="compatible",
        credential="OPENAI_COMPATIBLE_API_KEY",
        base_url="OPENAI_COMPATIBLE_BASE_URL",
        npm="@ai-sdk/openai-compatible",
    ),
    ModelApi(
        name="anthropic",
        credential="ANTHROPIC_API_KEY",
        base_url="ANTHROPIC_BASE_URL",
        path="/v1",
        default_url="https://api.anthropic.com",
    ),
    ModelApi(
        name="openai",
        credential="OPENAI_API_KEY",
        base_url="OPENAI_BASE_URL",
        default_url="https://api.openai.com/v1",
    ),
    ModelApi(name="openrouter", credential="OPENROUTER_API_KEY", default_url="https://openrouter.ai/api/v1"),
    ModelApi(name="opencode", credential="OPENCODE_API_KEY", default_url="https://opencode.ai/zen/v1"),
)
"""The first one that is configured serves models that are named without a provider."""
CREDENTIALS = tuple(api.credential for api in MODEL_APIS)
OF_MODEL_APIS = frozenset((*CREDENTIALS, *(api.base_url for api in MODEL_APIS)))
"""All their variables."""


def api_of(model: str, environment: Mapping[str, str]) -> tuple[ModelApi | None, str]:
    """The API of a model that is named as `provider/model` or `model`, whether it is configured or not, and the model's
    name there; None where no API is configured that could serve it."""
    head, _, tail = model.partition("/")
    named = next((api for api in MODEL_APIS if tail and api.name == head), None)
    if named is not None:
        return named, tail
    return next((api for api in MODEL_APIS if api.is_configured(environment)), None), model


def variables_for(models: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Of the environment what the APIs of these models need, and nothing of the others'."""
    apis = [api for api in (api_of(model, environment)[0] for model in models) if api is not None]
    return {name: environment[name] for api in apis for name in (api.credential, api.base_url) if environment.get(name)}
