"""The tests, in folders as the product has them; whole runs are in system/, packaging and documents in project/."""
