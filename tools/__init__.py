"""What developers of beam2vec work with and no user needs: run from the project's folder, never installed."""
