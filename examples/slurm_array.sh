#!/bin/bash
# Ensembles of all sequences in a FASTA file, as a SLURM job array:
#
#   sbatch slurm_array.sh proteome.fasta ensembles -n 500 --seed 1
#
# Killed tasks continue when SLURM requeues them. Submitting the same line again continues records
# that ran out of time, retries those that failed and skips those that are finished;
# `sbatch --array=2,3 slurm_array.sh ...` does so for two of the shards.
#
# SHARDS, below, is the last number of --array. Many tasks with one core use a cluster better than
# few tasks with many cores. A chain of 1,024 residues needs about 3 GB.
#SBATCH --job-name=ensembles
#SBATCH --array=1-4
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=ensembles_%a.log
set -euo pipefail
SHARDS=4

fasta=$1 output=$2
shift 2
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OPENMM_CPU_THREADS=${SLURM_CPUS_PER_TASK:-1}
exec openmm-slm sample "$fasta" --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" -o "$output" --resume "$@"
