"""The revisions of the schema, oldest first. What is here is never changed, only added to."""
