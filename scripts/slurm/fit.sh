#!/usr/bin/env bash
#SBATCH --job-name=brainrecon-fit
#SBATCH --time=06:00:00
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --gpus-per-node=1
#SBATCH --output=%x-%j.log
#
# Fit a decoder that is solved, with everything it needs encoded; what follows goes to `brainrecon fit`:
#   sbatch scripts/slurm/fit.sh brain-diffuser nsd:DATA --subject subj01 --roi nsdgeneral --out RUN
# Killed, or out of time, it goes on where it was when the same line is given again.
set -euo pipefail

# The environment of this cluster: how a job finds brainrecon, the checkpoints and the feature store, all on shared disks.
#   module load python
#   source ENVIRONMENT/bin/activate
#   export BRAINRECON_WEIGHTS=... BRAINRECON_FEATURES=...
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

srun brainrecon fit "$@"
