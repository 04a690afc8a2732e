# What PyMySQL sees: one connection after the other, text throughout, server-side cursors. Connects by its environment, tries one
# thing after the other and prints one JSON object of findings.
import json
import os
import threading
import time

import pymysql
from pymysql.cursors import SSCursor

found = {}


def connect(**more):
    ca = os.environ.get("CA")
    tls = {"ssl_ca": ca, "ssl_verify_cert": True, "ssl_verify_identity": True} if ca else {}
    return pymysql.connect(
        host=os.environ["HOST"],
        port=int(os.environ["PORT"]),
        user=os.environ["USERNAME"],
        password=os.environ["PASSWORD"],
        database=os.environ["DATABASE"],
        **tls,
        **more,
    )


connection = connect()
cursor = connection.cursor()


def ask(text, values=None):
    cursor.execute(text, values)
    return [list(row) for row in cursor.fetchall()]


def failing(text):
    try:
        cursor.execute(text)
        return "no error"
    except pymysql.Error as error:
        return error.args[0]


found["user"] = ask("select current_user(), database()")
found["rows"] = ask("select id, name from item where id in %s order by id", ([7, 8, 9],))
value = bytes([0, 1, 255, 128, 39, 92, 10])
cursor.execute("select cast(%s as binary)", (value,))
found["bytes"] = cursor.fetchone()[0] == value
found["errors"] = [failing("selec"), failing("insert into item values (0, '')"), failing("select * from nowhere")]
found["after"] = ask("select 1")

cursor.execute("create temporary table t (n int, s text) engine=innodb")
cursor.execute("insert into t values (1, 'kept')")
connection.commit()
cursor.execute("insert into t values (2, 'lost')")
connection.rollback()
found["transaction"] = ask("select n, s from t")
cursor.executemany("insert into t values (%s, %s)", [(n, "batch") for n in range(500)])
found["batch"] = ask("select count(*) from t where s = 'batch'")

streamed = connect(cursorclass=SSCursor)
with streamed.cursor() as slow:
    slow.execute("select id from item order by id")
    found["unbuffered"] = [slow.fetchone()[0], slow.fetchone()[0], sum(1 for _ in slow)]
streamed.close()

whole = "0123456789abcdef" * 1310720
found["large"] = ask("select %s", (whole,)) == [[whole]]

connection.select_db("information_schema")
found["selected"] = ask("select database()")
connection.select_db("orders")
connection.ping(reconnect=False)

killer = connect()


def kill():
    with killer.cursor() as watch:
        while True:
            watch.execute("select count(*) from information_schema.processlist where info like 'select sleep(60) as pymysql%'")
            if watch.fetchone()[0] == 1:
                break
            time.sleep(0.02)
        watch.execute(f"kill query {connection.thread_id()}")


thread = threading.Thread(target=kill)
thread.start()
found["cancel"] = failing("select sleep(60) as pymysql")
thread.join()
found["afterCancel"] = ask("select 1")
killer.close()
connection.close()
print(json.dumps(found))
