#!/bin/sh
# Which digits are these? Any board with a POSIX shell and any awk can run it:
#
#     sh classify.sh MODEL LIST OUTPUT
#
# LIST has a file a line; OUTPUT/answers.csv gets a row a file. The answers appear at once or not at all.
set -eu
LC_ALL=C
export LC_ALL
model=$1 list=$2 output=$3

echo "$(wc -l <"$list" | tr -d ' ') digits through ${model##*/}"
awk -v model="$model" '
function fail(text) { print "classify.sh: " text > "/dev/stderr"; failed = 1; exit 1 }

function read_model(    line, word, row, column) {
    while ((got = (getline line < model)) > 0) {
        split(line, word, " ")
        if (word[1] != "layer") fail(model ": a layer was expected, found " line)
        layers++
        inputs[layers] = word[2]; outputs[layers] = word[3]; activation[layers] = word[4]
        for (row = 1; row <= outputs[layers]; row++) {
            if ((getline line < model) <= 0) fail(model ": it ends in the middle of layer " layers)
            if (split(line, word, " ") != inputs[layers] + 1) fail(model ": a row of another length: " line)
            for (column = 1; column <= inputs[layers] + 1; column++) weight[layers, row, column] = word[column] + 0
        }
    }
    if (got < 0 || !layers) fail(model ": no model can be read there")
}

function read_digit(path,    line, word, count, column, total) {
    while ((got = (getline line < path)) > 0) {
        count = split(line, word, " ")
        for (column = 1; column <= count; column++) value[++total] = word[column] + 0
    }
    close(path)
    if (got < 0 || total != inputs[1]) fail(path ": found " total + 0 " values, the model wants " inputs[1])
}

function ask(    layer, row, column, sum, next_value, best) {
    for (layer = 1; layer <= layers; layer++) {
        for (row = 1; row <= outputs[layer]; row++) {
            sum = weight[layer, row, 1]
            for (column = 1; column <= inputs[layer]; column++) sum += weight[layer, row, column + 1] * value[column]
            next_value[row] = (activation[layer] == "relu" && sum < 0) ? 0 : sum
        }
        for (row = 1; row <= outputs[layer]; row++) value[row] = next_value[row]
    }
    best = 1
    for (row = 2; row <= outputs[layers]; row++) if (value[row] > value[best]) best = row
    return best - 1
}

BEGIN { read_model(); print "file,digit" }
{ read_digit($0); name = $0; sub(/.*\//, "", name); print name "," ask() }
END { exit failed }
' "$list" >"$output/.answers.csv"
mv "$output/.answers.csv" "$output/answers.csv"
