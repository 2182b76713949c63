#!/usr/bin/env bash
#SBATCH --job-name=brainrecon-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=%x-%j.log
#
# Train a decoder that learns, a process per GPU, on one node or several; what follows goes to `brainrecon fit`:
#   sbatch scripts/slurm/train.sh mindeye2023 nsd:DATA --subject subj01 --out RUN
#   sbatch --nodes=2 scripts/slurm/train.sh mindeye2023 nsd:DATA --subject subj01 --out RUN
# Killed, or out of time, it goes on from its last checkpoint when the same line is given again with as many GPUs.
set -euo pipefail

# The environment of this cluster: how a job finds brainrecon, the checkpoints and the feature store, all on shared disks.
#   module load python
#   source ENVIRONMENT/bin/activate
#   export BRAINRECON_WEIGHTS=... BRAINRECON_FEATURES=...

gpus="${SLURM_GPUS_ON_NODE:-1}"
nodes="${SLURM_JOB_NUM_NODES:-1}"
export GPUS="$gpus" NODES="$nodes"
export OMP_NUM_THREADS="$((${SLURM_CPUS_PER_TASK:-1} / gpus > 0 ? ${SLURM_CPUS_PER_TASK:-1} / gpus : 1))"
# Where the processes of several nodes meet: the first node, at a port that other jobs on it do not have.
MEETING="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
MEETING="${MEETING%%$'\n'*}"
export MEETING PORT="$((20000 + SLURM_JOB_ID % 20000))"

# One launcher per node; each knows its own number when it runs there.
# shellcheck disable=SC2016
srun bash -c '
    several=()
    if [ "$((GPUS * NODES))" -gt 1 ]; then several=(--multi_gpu); fi
    exec accelerate launch "${several[@]}" --num_machines "$NODES" --num_processes "$((GPUS * NODES))" \
        --machine_rank "$SLURM_NODEID" --main_process_ip "$MEETING" --main_process_port "$PORT" \
        --mixed_precision no --dynamo_backend no --module brainrecon fit "$@"
' launcher "$@" &
# A batch script hears the signal that comes before the end, and hands it on: the training writes a checkpoint.
job="$!"
trap 'kill -TERM "$job"' TERM
wait "$job" || { wait "$job"; }
