"""The first hour: a config for your data, the demo, this machine on a page."""
