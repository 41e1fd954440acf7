/** What `--help` prints. */
export const help = `Usage: myscript.ts [options] [file.sql ...]     "-" is standard input; without files: buildQueries()

Work
  -j, --workers N          queries at a time (4)
      --threads N          worker threads that carry them (one a processor)
      --batch N            queries in one round trip; "auto": as many as take 5 ms, up to 64 (1)
      --shard I/N          every N-th query only, beginning with the I-th
      --dry-run            only print the queries, one a line; with --resume as SQL, units as NDJSON

Server; what is not given comes from MYSQL_HOST, MYSQL_TCP_PORT, MYSQL_UNIX_PORT, MYSQL_USER,
MYSQL_PWD, MYSQL_DATABASE or the [client] group of ~/.my.cnf
      --url mysql://user@host:3306/database   --defaults-file F (instead of ~/.my.cnf)
  -h, --host H   -P, --port N   -S, --socket F   -u, --user U   -D, --database D
                           H may be several: db1,db2:3307,[::1]:3308
      --ssl-mode MODE      DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY
      --ssl-ca F           certificates to trust;   --ssl-cert F   --ssl-key F   the client's own
  -C, --compress           compress what is sent
      --local-infile       let LOAD DATA LOCAL INFILE read the file that it names
      --init-command SQL   run on every connection when it is made
      --connect-timeout S  how long to try to get a connection (60)

Failures
      --retries N          how often a query is sent again after a deadlock and the like (10)
      --timeout S          a query that runs longer is interrupted, and has failed
      --max-failures N     start nothing more after so many
      --idempotent         running a query twice is harmless: send again what may have run

Resume
      --joblog F           write down what was released to the workers and what became of it
      --resume             go on with the job log: what is done, failed or unknown is not run again
      --retry-failed   --retry-unknown     with --resume: but these are
      --ledger TABLE       exactly once: each query in one transaction with its row in TABLE (made
                           when missing); a query that has its row is done

Gently
      --rate N             queries a second over all workers
      --max-load VARIABLE=N,...            pause while a status variable of the server is above N
      --max-lag S          pause while one of --replicas H,... (as for -h) is further behind
      --heartbeat TABLE    with --max-lag: told by pt-heartbeat's table, not by SHOW REPLICA STATUS
      --control SOCKET     changes the run while it goes on: a line such as status, pause, rate 200

Output
      --rows               rows on stdout, as NDJSON: {"seq":12,"row":{...}}
      --json               the summary on stdout, as one line of JSON, after the rows
  -q, --quiet              no bar, and a summary only when something went wrong
      --help   --version

Exit status: 0 every query done; 1 some failed or were skipped; 2 usage, configuration or no server;
3 some are unknown: they may have run; 129, 130 and 143 after a signal. Ctrl-C lets what is in
flight end; twice interrupts it.`;
