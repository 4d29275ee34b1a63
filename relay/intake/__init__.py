"""The relay's use cases, without HTTP: a submitter sends and follows, the desk is handed over to."""
