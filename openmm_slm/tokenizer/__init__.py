"""Stage 1: backbones to structure tokens and back."""
