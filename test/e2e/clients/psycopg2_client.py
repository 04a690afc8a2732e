# What psycopg2 sees: connects by libpq's environment, tries one thing after the other and prints one JSON object of findings.
import io
import json
import os
import select
import threading
import time

import psycopg2
import psycopg2.extras

found = {}


def connect(**more):
    return psycopg2.connect("", **more)


connection = connect()
connection.autocommit = True
cursor = connection.cursor()


def ask(text, values=None):
    cursor.execute(text, values)
    return [list(row) for row in cursor.fetchall()]


def failing(text, values=None):
    try:
        cursor.execute(text, values)
        return "no error"
    except psycopg2.Error as error:
        return error.pgcode


found["user"] = ask("select current_user, session_user")
found["rows"] = ask("select id, name from item where id between %s and %s order by id", (7, 9))
value = bytes([0, 1, 255, 128, 39, 92, 10])
cursor.execute("select %s::bytea", (psycopg2.Binary(value),))
found["bytes"] = bytes(cursor.fetchone()[0]) == value
found["errors"] = [failing("select 1/0"), failing("select %s::int", ("seven",)), failing("insert into item values (0)")]
found["after"] = ask("select 1")

cursor.execute("create temp table t (n int, s text)")
connection.autocommit = False
cursor.execute("insert into t values (1, 'kept')")
connection.commit()
cursor.execute("insert into t values (2, 'lost')")
connection.rollback()
connection.autocommit = True
found["transaction"] = ask("select n, s from t")

lines = "".join(f"{n}\tline {n}\n" for n in range(20000))
cursor.execute("truncate t")
cursor.copy_expert("copy t from stdin", io.StringIO(lines))
out = io.StringIO()
cursor.copy_expert("copy t to stdout", out)
found["copy"] = out.getvalue() == lines

cursor.execute("listen news")
cursor.execute("select pg_notify('news', 'hello')")
while not connection.notifies:
    select.select([connection], [], [], 10)
    connection.poll()
found["notify"] = connection.notifies[0].payload

cursor.execute("prepare named(int) as select name from item where id = $1")
found["prepared"] = [ask("execute named(%s)", (n,))[0][0] for n in (1, 2, 3)]
# several statements in one message are as near to pipelining as psycopg2 comes
psycopg2.extras.execute_batch(cursor, "insert into t values (%s, 'batch')", [(n,) for n in range(500)], page_size=100)
found["batch"] = ask("select count(*) from t where s = 'batch'")

cursor.execute("do $$ begin raise notice 'take note'; end $$")
found["notices"] = [notice.strip() for notice in connection.notices]

named = connect(application_name="e2e psycopg2", options="-c statement_timeout=12345")
named.autocommit = True
with named.cursor() as other:
    other.execute("select current_setting('application_name'), current_setting('statement_timeout')")
    found["settings"] = list(other.fetchone())

whole = "0123456789abcdef" * 1310720
found["large"] = ask("select %s", (whole,)) == [[whole]]

outcome = []
pid = connection.get_backend_pid()
sleeper = threading.Thread(target=lambda: outcome.append(failing("select pg_sleep(60)")), daemon=True)
sleeper.start()
with named.cursor() as other:
    state = None
    while state != "active":
        time.sleep(0.02)
        other.execute("select state from pg_stat_activity where pid = %s and query like '%%pg_sleep%%'", (pid,))
        row = other.fetchone()
        state = row and row[0]
connection.cancel()
sleeper.join(20)
found["cancel"] = outcome
found["afterCancel"] = ask("select 1")
named.close()
connection.close()
print(json.dumps(found))
