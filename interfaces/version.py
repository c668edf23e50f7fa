"""The version of Fleetlog, for the package, `fleetlog --version` and the OpenAPI document."""

__version__ = "0.1.0"
