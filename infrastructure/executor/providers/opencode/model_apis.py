"""The model providers of opencode that an installation can configure."""

from collections.abc import Mapping

import msgspec


class ModelApi(msgspec.Struct, frozen=True, kw_only=True):
    """A model provider of opencode, and its environment variables: `credential`, `base_url`. `path`: what opencode
    wants at the end of the base URL. `npm`: the SDK package of a provider that opencode has not built in."""

    name: str
    credential: str
    base_url: str = ""
    path: str = ""
    npm: str = ""

    def is_configured(self, environment: Mapping[str, str]) -> bool:
        """Whether its credential is set, and its base URL if opencode has not built it in."""
        return bool(environment.get(self.credential)) and not (self.npm and not environment.get(self.base_url))


MODEL_APIS = (
    ModelApi(
        name="compatible",
        credential="OPENAI_COMPATIBLE_API_KEY",
        base_url="OPENAI_COMPATIBLE_BASE_URL",
        npm="@ai-sdk/openai-compatible",
    ),
    ModelApi(name="anthropic", credential="ANTHROPIC_API_KEY", base_url="ANTHROPIC_BASE_URL", path="/v1"),
    ModelApi(name="openai", credential="OPENAI_API_KEY", base_url="OPENAI_BASE_URL"),
    ModelApi(name="openrouter", credential="OPENROUTER_API_KEY"),
    ModelApi(name="opencode", credential="OPENCODE_API_KEY"),
)
"""The first one that is configured serves models that are named without a provider."""
CREDENTIALS = tuple(api.credential for api in MODEL_APIS)
