"""Beam transforms: one thin, typed, named stage a module.

Each is the stage of the same name in `pipeline`, spread over workers; what they
pass on are references to artefacts, never text or tables.
"""
