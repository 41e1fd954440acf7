#!/usr/bin/python3
"""The Python original: a Pool of processes, each with a connection. Run: original.py SQL COUNT PROCESSES"""
import multiprocessing
import os
import sys

import MySQLdb


def worker_init():
    global connection
    connection = MySQLdb.connect(unix_socket=os.environ["MYSQL_UNIX_PORT"], user="root", db="myscript")
    worker_do("SET AUTOCOMMIT=1")


def worker_do(query):
    cursor = connection.cursor()
    cursor.execute(query)
    if cursor.description:
        cursor.fetchall()
    cursor.close()


def build_queries(sql, count):
    return [sql.replace("{}", str(1 + i * 7919 % 200000)) for i in range(count)]


def do_work(queries, processes):
    pool = multiprocessing.Pool(processes, worker_init)
    pool.map(worker_do, queries, chunksize=1)
    pool.close()
    pool.join()


if __name__ == "__main__":
    do_work(build_queries(sys.argv[1], int(sys.argv[2])), int(sys.argv[3]))
