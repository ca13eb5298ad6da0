"""Stage 1: the structure tokenizer, backbones <-> structure tokens."""
