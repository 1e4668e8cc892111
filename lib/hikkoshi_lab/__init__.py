"""The lab: a stand-in for a site, made of real parts. Imported by tests, the demo and the CLI only."""
