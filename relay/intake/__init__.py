"""The relay's use cases, without HTTP: the submitter's and the desk's."""
