"""What programs do with PostgreSQL more rarely: postgres_rare.py WHAT HOST PORT."""
import sys
import threading

what, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
DSN = "host=%s port=%d user=me dbname=postgres" % (host, port)


def connect():
    import psycopg2
    c = psycopg2.connect(DSN)
    c.autocommit = True
    return c


def threads():
    got = []

    def work(first):
        c = connect()
        k = c.cursor()
        for i in range(first, 10000, 16):
            k.execute("select %d as q%d" % (i, i))
            got.append(k.fetchone()[0])
        c.close()
    all_of = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in all_of:
        t.start()
    for t in all_of:
        t.join()
    print(len(set(got)))


{"threads": threads}[what]()
