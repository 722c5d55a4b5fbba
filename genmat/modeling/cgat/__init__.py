"""Crystal-graph attention over neighbour shells, without coordinates."""
