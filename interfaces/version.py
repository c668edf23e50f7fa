"""The version of Fleetlog: the package, `fleetlog --version` and the OpenAPI document all take it from here."""

__version__ = "0.1.0"
