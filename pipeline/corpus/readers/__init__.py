"""One format a module. `reader` holds what they share; `open_reader` alone knows them all."""
