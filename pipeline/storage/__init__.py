"""Where artefacts lie, and who may change them: folders and object stores, the lock, records."""
