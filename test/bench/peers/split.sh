#!/bin/sh
# split, with a mariadb client for each part. Run: split.sh FILE CLIENTS
set -e
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
split -n "l/$2" "$1" "$parts/part."
for part in "$parts"/part.*; do
  mariadb --no-defaults -u root -B -N myscript < "$part" > /dev/null &
done
wait
