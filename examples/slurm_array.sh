#!/bin/bash
# Ensembles of all sequences of a FASTA file, by the tasks of a SLURM job array:
#
#   sbatch slurm_array.sh proteome.fasta ensembles -n 500 --seed 1
#
# Tasks that were killed are continued when SLURM requeues them. The same line again continues
# what ran out of time, tries again what failed, and passes over what is finished;
# `sbatch --array=2,3 slurm_array.sh ...` does so for two of the shards.
#
# SHARDS, below, is the last number of --array. Many short tasks of one core fill a cluster better
# than few of many cores; a chain of 1,024 residues needs about 3 GB.
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
