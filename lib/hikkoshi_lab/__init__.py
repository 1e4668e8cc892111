"""The lab: a stand-in for a site, made of real parts. The product never imports it: its command comes by an entry point."""
