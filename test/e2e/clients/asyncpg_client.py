# What asyncpg sees: binary parameters and results, statements prepared throughout, batches pipelined. Connects by libpq's
# environment, tries one thing after the other and prints one JSON object of findings.
import asyncio
import io
import json
import os
import ssl

import asyncpg

found = {}


def connect(**more):
    plain = os.environ["PGSSLMODE"] == "disable"
    context = False if plain else ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    return asyncpg.connect(
        host=os.environ["PGHOST"],
        port=int(os.environ["PGPORT"]),
        user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        database=os.environ["PGDATABASE"],
        ssl=context,
        **more,
    )


async def main():
    connection = await connect()

    async def ask(text, *values):
        return [list(row) for row in await connection.fetch(text, *values)]

    async def failing(text, *values):
        try:
            await connection.fetch(text, *values)
            return "no error"
        except asyncpg.PostgresError as error:
            return error.sqlstate

    found["user"] = await ask("select current_user::text, session_user::text")
    found["rows"] = await ask("select id, name from item where id = any($1::int[]) order by id", [7, 8, 9])
    value = bytes([0, 1, 255, 128, 39, 92, 10])
    found["bytes"] = await connection.fetchval("select $1::bytea", value) == value
    found["errors"] = [
        await failing("select 1 / $1::int", 0),
        await failing("select 'seven'::int"),
        await failing("insert into item values (0)"),
    ]
    found["after"] = await ask("select 1")

    await connection.execute("create temp table t (n int, s text)")
    async with connection.transaction():
        await connection.execute("insert into t values (1, 'kept')")
    try:
        async with connection.transaction():
            await connection.execute("insert into t values (2, 'lost')")
            raise RuntimeError
    except RuntimeError:
        pass
    found["transaction"] = await ask("select n, s from t")

    await connection.execute("truncate t")
    await connection.copy_records_to_table("t", records=[(n, f"line {n}") for n in range(20000)])
    out = io.BytesIO()
    await connection.copy_from_query("select n, s from t order by n", output=out)
    found["copy"] = out.getvalue() == "".join(f"{n}\tline {n}\n" for n in range(20000)).encode()

    heard = asyncio.get_running_loop().create_future()
    await connection.add_listener("news", lambda _connection, _pid, _channel, payload: heard.set_result(payload))
    await connection.execute("select pg_notify('news', 'hello')")
    found["notify"] = await asyncio.wait_for(heard, 10)

    statement = await connection.prepare("select name from item where id = $1")
    found["prepared"] = [await statement.fetchval(n) for n in (1, 2, 3)]
    await connection.executemany("insert into t values ($1, 'batch')", [(n,) for n in range(500)])
    found["batch"] = await ask("select count(*) from t where s = 'batch'")

    notices = []
    connection.add_log_listener(lambda _connection, message: notices.append(str(message)))
    await connection.execute("do $$ begin raise notice 'take note'; end $$")
    await connection.execute("select 1")
    found["notices"] = notices

    settings = {"application_name": "e2e asyncpg", "options": "-c statement_timeout=12345"}
    named = await connect(server_settings=settings)
    row = await named.fetchrow("select current_setting('application_name'), current_setting('statement_timeout')")
    found["settings"] = list(row)

    whole = "0123456789abcdef" * 1310720
    found["large"] = await ask("select $1::text", whole) == [[whole]]

    pid = connection.get_server_pid()
    sleeper = asyncio.create_task(failing("select pg_sleep(60)"))
    query = "select state from pg_stat_activity where pid = $1 and query like '%pg_sleep%'"
    while await named.fetchval(query, pid) != "active":
        await asyncio.sleep(0.02)
    # asyncpg answers by a cancel request of its own, and waits until the server has obeyed
    sleeper.cancel()
    found["cancel"] = [type(error).__name__ for error in await asyncio.gather(sleeper, return_exceptions=True)]
    found["afterCancel"] = await asyncio.wait_for(ask("select 1"), 20)
    found["stillAsleep"] = await named.fetchval("select state from pg_stat_activity where pid = $1", pid)
    await named.close()
    await connection.close()


asyncio.run(main())
print(json.dumps(found))
