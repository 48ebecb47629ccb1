"""What tests share: commands in a process or beside it, corpora, stores and clusters that are made for a test."""
