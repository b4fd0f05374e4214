#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1       # torchrun starts the processes of its node
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=32
#SBATCH --time=02:00:00
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${GPUS:-4}" --rdzv-backend c10d \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$HEAD:${PORT:-29500}" -m mammozoo train "$@"
