"""What the benchmarks of servers measure with: accounts of processes, load, and the servers."""
