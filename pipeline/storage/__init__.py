"""Where artefacts are stored, and who may change them: folders and object stores, the lock, records."""
