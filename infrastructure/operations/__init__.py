"""What operators see of this installation: whether its parts work, its metrics, the checks of `fleetlog doctor`."""
