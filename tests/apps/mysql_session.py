"""What programs do with a connection besides asking: mysql_session.py LIBRARY SOCKET USER PASSWORD DATABASE OTHER."""
import sys

library, where, user, password, database, other = sys.argv[1:]
login = {"unix_socket": where, "user": user, "password": password, "database": database}


def with_pymysql():
    import pymysql
    from pymysql.cursors import SSCursor
    c = pymysql.connect(**login)
    c.ping()
    with c.cursor() as cur:
        print(cur.executemany("INSERT INTO t (id, name) VALUES (%s, %s)", [(i, "geheim-%d" % i) for i in range(100)]))
    c.rollback()
    with c.cursor(SSCursor) as cur:         # the rest of the rows is read when it is closed
        cur.execute("SELECT seq, 'geheim' FROM seq_1_to_5000")
        print(cur.fetchmany(3))
    c.select_db(other)
    with c.cursor() as cur:
        cur.execute("SELECT DATABASE(), 'after select_db'")
        print(cur.fetchall())
    c.close()


def with_connector():
    import mysql.connector
    c = mysql.connector.connect(**login, use_pure=True, ssl_disabled=True)
    c.ping()
    print("Uptime" in c.cmd_statistics())
    cur = c.cursor(prepared=True)
    cur.executemany("INSERT INTO t (id, name) VALUES (%s, %s)", [(i, "geheim-%d" % i) for i in range(20)])
    print(cur.rowcount)
    cur.execute("SELECT name FROM t WHERE id < %s", (3,))
    print(cur.fetchall())
    cur.close()
    c.commit()
    c.cmd_reset_connection()
    cur = c.cursor()
    cur.execute("SELECT DATABASE(), 'after reset'")
    print(cur.fetchall())
    c.cmd_change_user(user, password, other)
    cur.execute("SELECT DATABASE(), 'after change_user'")
    print(cur.fetchall())
    cur.close()
    c.close()


{"pymysql": with_pymysql, "connector": with_connector}[library]()
