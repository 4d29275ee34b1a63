"""The staff side: pull, open, decide, verify. Runs on a laptop, without the server's packages."""
