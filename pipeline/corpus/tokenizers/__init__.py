"""One kind of tokeniser a module. `tokenizer` holds what they share; `open_tokenizer` alone knows them all."""
