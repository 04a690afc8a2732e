# redis-py through Sallyport: tries everything once and prints what it found. With CLUSTER set it is RedisCluster that is tried.
import json
import os
import threading

import redis

url = os.environ["URL"]
mark = os.environ["MARK"]
clustered = "CLUSTER" in os.environ
found = {}


def connect():
    if not clustered:
        return redis.Redis.from_url(url, decode_responses=True)
    return redis.RedisCluster.from_url(url, decode_responses=True)


def failing(act):
    try:
        act()
        return "no error"
    except redis.RedisError as error:
        return [type(error).__name__, str(error)]


client = connect()
key = lambda name: f"{mark}:{name}"
whoami = client.execute_command("ACL WHOAMI", target_nodes=redis.RedisCluster.RANDOM) if clustered else client.execute_command("ACL WHOAMI")
found["user"] = whoami

client.set(key("text"), "grün")
client.hset(key("hash"), mapping={"a": "1", "b": "2"})
client.rpush(key("list"), "x", "y")
found["values"] = [client.get(key("text")), client.hgetall(key("hash")), client.lrange(key("list"), 0, -1), client.get(key("none"))]

with client.pipeline(transaction=False) as line:
    for n in range(300):
        line.set(key(f"p:{n}"), n)
    for n in range(300):
        line.get(key(f"p:{n}"))
    answers = line.execute()
found["pipeline"] = answers == [True] * 300 + [str(n) for n in range(300)]

if clustered:
    found["transaction"] = client.eval("redis.call('set', KEYS[1], 'x') return redis.call('get', KEYS[1])", 1, key("tx"))
    found["nodes"] = [[node.host, node.port, node.server_type] for node in client.get_nodes()]
else:
    with client.pipeline(transaction=True) as line:
        found["transaction"] = line.set(key("tx"), "1").incr(key("tx")).get(key("tx")).execute()
    with client.pipeline() as line:
        line.watch(key("tx"))
        client.set(key("tx"), "changed")
        line.multi()
        line.set(key("tx"), "mine")
        found["watched"] = failing(line.execute)

found["script"] = client.eval("return {KEYS[1], ARGV[1]}", 1, key("script"), "5") == [key("script"), "5"]
found["errors"] = [failing(lambda: client.incr(key("text"))), failing(lambda: client.lpush(key("text"), "x"))]
found["after"] = client.get(key("text"))

if not clustered:
    waited = []
    worker = threading.Thread(target=lambda: waited.append(client.blpop(key("queue"), timeout=20)))
    worker.start()
    client.rpush(key("queue"), "job")
    worker.join()
    found["blocking"] = waited == [(key("queue"), "job")]

listener = client.pubsub()
listener.subscribe(key("news"))
messages = [listener.get_message(timeout=10)]
client.publish(key("news"), "hello")
messages.append(listener.get_message(timeout=10))
found["pubsub"] = [[one["type"], one["data"]] for one in messages if one]
listener.close()

many = {key(f"m:{n}"): str(n) for n in range(50)}
if clustered:
    for name, value in many.items():
        client.set(name, value)
    found["scan"] = sorted(client.scan_iter(match=key("m:*"))) == sorted(many)
else:
    client.mset(many)
    found["scan"] = sorted(client.scan_iter(match=key("m:*"), count=7)) == sorted(many) and client.mget(list(many)) == list(many.values())
found["deleted"] = client.delete(*many)

large = "0123456789abcdef" * 1_310_720
client.set(key("large"), large)
found["large"] = client.get(key("large")) == large
client.delete(key("large"))
client.close()
print(json.dumps(found))
