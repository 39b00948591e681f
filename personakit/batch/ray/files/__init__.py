"""Files on a cluster: read, checked, answered and written through Ray Data."""
