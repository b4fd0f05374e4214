#!/bin/bash
#SBATCH --gres=gpu:2
#SBATCH --cpus-per-task=8
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60        # 60 s before the end, to this shell
# sbatch requeue.sh RUN [DATA|RECIPE] [OPTIONS]
RUN=$1
shift
if [ -f "$RUN/run.json" ]; then
    mammozoo train --resume "$RUN" --gpus "${GPUS:-2}" &
else
    mammozoo train "$@" --gpus "${GPUS:-2}" --out "$RUN" &
fi
CHILD=$!
trap 'kill -TERM $CHILD; wait $CHILD; scontrol requeue "$SLURM_JOB_ID"' TERM
wait $CHILD
