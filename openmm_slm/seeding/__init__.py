"""From frames of a protein to simulations: chosen, solvated, equilibrated, written, exported."""
