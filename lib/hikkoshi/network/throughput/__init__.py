"""How fast is a path: netperf, iperf3, and the units of what they print."""
