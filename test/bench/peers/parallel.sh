#!/bin/sh
# GNU parallel, which gives each of its mariadb clients a block of lines. Run: parallel.sh FILE CLIENTS
#
# One query a job would be a new client for each query, some 10 ms; --pipe-part is parallel's fastest way to share out lines,
# and a block of -1 makes as many blocks as jobs.
exec parallel --will-cite -j "$2" --pipe-part --block -1 -a "$1" 'mariadb --no-defaults -u root -B -N myscript > /dev/null'
