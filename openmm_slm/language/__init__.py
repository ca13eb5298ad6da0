"""Stage 2: language models of structure tokens given the sequence."""
