"""The recipe `reference` as others would write it, each a script of its own: what this project is compared with.

Called by `benchmarks.bench` in a child process: `python -m benchmarks.peers.NAME --splits … --images … --config …
--out …`. Splits, network, seed, epochs and callbacks are those of ours.
"""
