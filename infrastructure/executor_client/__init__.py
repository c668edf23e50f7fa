"""The control plane's client of executors: retries, circuit breakers, trace headers, journals followed as streams."""
