#!/usr/bin/env bash
#SBATCH --job-name=brainrecon-draw
#SBATCH --array=0-7
#SBATCH --time=06:00:00
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --gpus-per-node=1
#SBATCH --output=%x-%A_%a.log
#
# Draw the pictures of a fitted run, each job of the array a shard of them; what follows goes to `brainrecon reconstruct`:
#   sbatch scripts/slurm/draw.sh RUN --controls essential --samples 5
#   sbatch --array=0-31%8 scripts/slurm/draw.sh RUN         # 32 shards, 8 at a time
# Shards share no picture. A job that was lost is given again with the same line: the others find nothing left to do.
set -euo pipefail

# The environment of this cluster: how a job finds brainrecon, the checkpoints and the feature store, all on shared disks.
#   module load python
#   source ENVIRONMENT/bin/activate
#   export BRAINRECON_WEIGHTS=... BRAINRECON_FEATURES=...
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

shard="$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))/$SLURM_ARRAY_TASK_COUNT"

srun brainrecon reconstruct "$@" --shard "$shard"
