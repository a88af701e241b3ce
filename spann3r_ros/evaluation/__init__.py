"""How good a run or a network is: scores, protocols, reports, suites, parity, benchmarks."""
