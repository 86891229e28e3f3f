#!/bin/sh
# Histories and vectors of texts for the configs of this folder, from the files as docs/systems/unisrec.md names them:
#
#     sh samples/unisrec/prepare.sh ../shared/data [OUT]
#
# Writes OUT/sources (Beauty, Sports, Office and MovieLens-1M) and OUT/scientific; OUT is samples/data/unisrec by default.
set -eu
data=$1
out=${2:-$(dirname "$0")/../data/unisrec}
mkdir -p "$out"

# MovieLens: title and genres of each item; the items of the histories are numbered anew.
iconv -f ISO-8859-1 -t UTF-8 "$data/ml1m/movies.dat" | awk -F '::' '
  NR == FNR { gsub("[|]", " ", $3); gsub("\t", " "); text[$1] = $2 " " $3; next }
  { split($0, id, " "); print id[1] "\t" text[id[2]] }
' - "$data/ml1m/sas_to_original_items.txt" > "$out/ml-1m_text.tsv"

easyssl data sequences \
  --source "$data/amazon_5core/Beauty.txt.gz" "$data/amazon_5core/Sports_and_Outdoors.txt.gz" \
    "$data/amazon_office/Office_Products_partial_sequences.txt.gz" "$data/ml1m/ml-1m.txt.gz" \
  --items "$data/amazon_5core/Beauty_item_text.tsv.gz" "$data/amazon_5core/Sports_and_Outdoors_item_text.tsv.gz" \
    "$data/amazon_office/Office_Products_item_text.tsv.gz" "$out/ml-1m_text.tsv" \
  --out "$out/sources"
easyssl data sequences --source "$data/amazon_scientific/Scientific.txt.gz" \
  --items "$data/amazon_scientific/Scientific_item_text.tsv.gz" --out "$out/scientific"

easyssl embed-text "$out/sources/items.tsv.gz" --column text title brand description --out "$out/sources/text.npz"
easyssl embed-text "$out/sources/items.tsv.gz" --column text title brand description --out "$out/sources/dropped.npz" \
  --word-drop 0.15
easyssl embed-text "$out/scientific/items.tsv.gz" --out "$out/scientific/text.npz"
