"""Queries from many threads: mysql_threads.py SOCKET USER PASSWORD DATABASE THREADS COUNT. Prints the sum of all answers."""
import sys
import threading

import pymysql

where, user, password, database = sys.argv[1:5]
threads, count = map(int, sys.argv[5:])
sums = [0] * threads


def work(t):
    c = pymysql.connect(unix_socket=where, user=user, password=password, database=database)
    with c.cursor() as cur:
        for i in range(count):
            cur.execute("SELECT %%s AS t%d_%d" % (t, i), (i,))
            (n,), = cur.fetchall()
            sums[t] += n
    c.close()


all_threads = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
for t in all_threads:
    t.start()
for t in all_threads:
    t.join()
print(sum(sums))
