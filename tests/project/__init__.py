"""The project itself: packaging, documents, examples, deployment."""
