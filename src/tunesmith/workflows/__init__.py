"""The calls that the command line, a notebook and the web page share."""
