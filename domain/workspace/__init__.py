"""The workspace: path rules, the runtime manifest, restore plans and sync manifests."""
