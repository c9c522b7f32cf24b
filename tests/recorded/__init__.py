"""What the program gave at one commit: adapters, documents and folders, recorded to be compared.

`python -m tests.recorded.make` records, `python -m tests.recorded.compare` runs the same scenario
again and prints what differs. Everything goes through the command line and files on disk, so that
no module of the program is named here.
"""
