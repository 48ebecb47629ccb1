"""Whole runs: killed, resumed, on other runners and stores."""
