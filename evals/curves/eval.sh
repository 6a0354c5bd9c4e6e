#!/usr/bin/env bash
# Applies a table of gray values to the pictures of one dataset, batch by batch:
#
#     MODEL_DIR=linear_3bit bash eval.sh linear_3bit/photos
#
# Everything below can be set from outside, and by a .run_config in the dataset.
MODEL_FILE_EXT=${MODEL_FILE_EXT:-.lut}
IN_SUBDIR=${IN_SUBDIR:-pgm}
OUT_SUBDIR=${OUT_SUBDIR:-output}
MAX_BATCH_SIZE=${MAX_BATCH_SIZE:-2}
POST_PROCESS_PLUGIN=${POST_PROCESS_PLUGIN:-psnr}
RUN_STATE_NAME=${RUN_STATE_NAME:-.curve}

set -euo pipefail
dataset=$(cd "$1" && pwd)

# What the dataset says about itself comes last. Read, not executed.
if [ -f "$dataset/.run_config" ]; then
    while IFS='=' read -r key value; do
        case $key in
        IN_SUBDIR) IN_SUBDIR=$value ;;
        MAX_BATCH_SIZE) MAX_BATCH_SIZE=$value ;;
        esac
    done <"$dataset/.run_config"
fi
case $OUT_SUBDIR in /*) output=$OUT_SUBDIR ;; *) output=$dataset/$OUT_SUBDIR ;; esac
case $RUN_STATE_NAME in /*) state=$RUN_STATE_NAME ;; *) state=$dataset/$RUN_STATE_NAME ;; esac
model=$(find "$MODEL_DIR" -maxdepth 1 -name "*$MODEL_FILE_EXT" | head -n 1)
mkdir -p "$output"

# The state, replaced in one step: lines 2 to 8 say how far this is.
write_state() {
    printf '%s\n' '# state of an evaluation' \
        "RUNNING_CURRENT_BATCH=$1" "RUNNING_TOTAL_BATCHES=$2" "RUNNING_BATCH_COMPLETED=$3" "RUNNING_BATCH_TOTAL=$4" \
        RUNNING_FAILED_BATCHES=0 RUNNING_RETRY_COUNT=0 "RUNNING_TIMESTAMP=$(date +%s)" \
        "MAX_BATCH_SIZE=$MAX_BATCH_SIZE" "TOTAL_DATA=$5" >"$state.state.tmp"
    mv "$state.state.tmp" "$state.state"
}

shopt -s nullglob
pictures=("$dataset/$IN_SUBDIR"/*.pgm)
total=${#pictures[@]}
batches=$(((total + MAX_BATCH_SIZE - 1) / MAX_BATCH_SIZE))
for ((batch = 0; batch < batches; batch++)); do
    start=$((batch * MAX_BATCH_SIZE))
    size=$((total - start < MAX_BATCH_SIZE ? total - start : MAX_BATCH_SIZE))
    echo "batch $((batch + 1)) of $batches: $size pictures through $(basename "$model")"
    for ((place = 0; place < size; place++)); do
        write_state $((batch + 1)) "$batches" "$place" "$size" "$total"
        picture=${pictures[start + place]}
        awk 'NR == FNR { table[FNR - 1] = $1; next }
             FNR <= 3 { print; next }
             { for (i = 1; i <= NF; i++) $i = table[$i]; print }' \
            "$model" "$picture" >"$output/$(basename "$picture").part"
        mv "$output/$(basename "$picture").part" "$output/$(basename "$picture")"
    done
    write_state $((batch + 1)) "$batches" "$size" "$size" "$total"
done
mv "$state.state" "$state.complete.state"
