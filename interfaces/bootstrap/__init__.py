"""The control plane's composition root: which adapter implements which port."""
