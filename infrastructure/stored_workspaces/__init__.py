"""Workspaces as the object store holds them: layout and manifests, and the reading, copying and collection of both."""
