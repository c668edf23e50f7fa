"""What repairs itself says so."""
