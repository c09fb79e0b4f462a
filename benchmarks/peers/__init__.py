"""The same saveTag, written as a good engineer would with other tools; used by the measurements only."""
