"""Stage keys for records of tests."""

KEY, OTHER_KEY = "0123456789abcdef" * 2, "fedcba9876543210" * 2
