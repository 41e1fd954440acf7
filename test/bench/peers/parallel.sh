#!/bin/sh
# GNU parallel, which gives each of its mariadb clients a block of lines. Run: parallel.sh FILE CLIENTS
#
# One query a job would start a client for each query, which takes about 10 ms. --pipe-part is parallel's fastest way to
# distribute lines. "--block -1" makes as many blocks as jobs.
exec parallel --will-cite -j "$2" --pipe-part --block -1 -a "$1" 'mariadb --no-defaults -u root -B -N myscript > /dev/null'
