#!/bin/bash
#SBATCH --array=0-14              # the numbers that `mammozoo train ... --plan` lists
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=02:00:00
mammozoo train "$@" --fit "$SLURM_ARRAY_TASK_ID"
