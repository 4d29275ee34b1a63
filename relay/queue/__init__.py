"""The sealed queue: states of a submission, its one database, its log. It can open nothing."""
