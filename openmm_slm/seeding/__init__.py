"""Start simulations from frames: select, solvate, equilibrate, write and export."""
