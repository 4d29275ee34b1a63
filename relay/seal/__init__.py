"""Sealing: age files, recipients and identities, signatures, the constant-size envelope."""
