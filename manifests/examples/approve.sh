#!/bin/sh
# Sign a manifest as a whole team would, with the keys of a folder that `placet init` made; to try things out.
#   approve.sh MANIFEST FOLDER
# Really, each line is typed by somebody else, on a machine of their own, after a look at what they sign.
set -eu
manifest=$1
folder=$2
export PLACET_CONFIG="$folder/placet.yaml"

# The build pipeline signs what it measured.
placet evidence attest -f "$manifest" --key "$folder/keys/pipeline.key" --write \
  --parameters 70600000000 --data-classification confidential --rollback-minutes 3
placet evidence attest -f "$manifest" --key "$folder/keys/pipeline.key" --write \
  --fact coverage --from "$(dirname "$0")/coverage.json"

# Three people sign, each with their own key.
placet approve -f "$manifest" -e production --role technical --key "$folder/keys/tara.key" --yes
placet approve -f "$manifest" -e production --role security --key "$folder/keys/sam.key" --yes
placet approve -f "$manifest" -e production --role business --key "$folder/keys/bea.key" --yes
