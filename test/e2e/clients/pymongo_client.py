# What pymongo sees: an old driver, whose first hello is an OP_QUERY. Connects by its environment, tries one thing after the other
# and prints one JSON object of findings.
import json
import os
import time

import pymongo
from pymongo import MongoClient, monitoring
from pymongo.errors import OperationFailure, PyMongoError

found = {}
url = os.environ["URL"]
own = os.environ["COLLECTION"]


def connect(bend=lambda text: text, **more):
    return MongoClient(bend(url), serverSelectionTimeoutMS=more.pop("wait", 10000), **more)


def failing(act):
    try:
        act()
        return "no error"
    except OperationFailure as error:
        return error.code


def without_direct(text):
    return text.replace("directConnection=true&", "")


client = connect()
orders = client["orders"]
status = client["admin"].command("connectionStatus")
found["user"] = [(one["user"], one["db"]) for one in status["authInfo"]["authenticatedUsers"]]
found["rows"] = [(one["_id"], one["name"]) for one in orders["item"].find({"_id": {"$gte": 7, "$lte": 9}}).sort("_id")]
found["batches"] = sum(one["_id"] for one in orders["item"].find().batch_size(11))
mine = orders[own]
found["bulk"] = len(mine.insert_many([{"_id": n, "text": "x" * 1000} for n in range(1500)]).inserted_ids)
found["changed"] = mine.update_many({"_id": {"$lt": 5}}, {"$set": {"text": "changed"}}).modified_count
found["deleted"] = mine.delete_many({"_id": {"$gte": 5}}).deleted_count
found["aggregate"] = list(orders["item"].aggregate([{"$match": {"_id": {"$lte": 4}}}, {"$group": {"_id": None, "sum": {"$sum": "$_id"}}}]))
found["errors"] = [
    failing(lambda: mine.insert_one({"_id": 1})),
    failing(lambda: client["payroll"]["salary"].find_one()),
    failing(lambda: orders.command("noSuchCommand")),
]
whole = "0123456789abcdef" * 262144
mine.insert_one({"_id": 99, "whole": whole})
found["large"] = mine.find_one({"_id": 99})["whole"] == whole
found["after"] = mine.count_documents({})
with client.start_session() as session:
    with session.start_transaction():
        mine.insert_one({"_id": 100}, session=session)
    session.start_transaction()
    mine.insert_one({"_id": 101}, session=session)
    session.abort_transaction()
found["transaction"] = [mine.count_documents({"_id": 100}), mine.count_documents({"_id": 101})]
found["hosts"] = [f"{host}:{port}" for host, port in client.nodes] == [os.environ["ADDRESS"]]
client.close()

finding = connect(without_direct)
found["finding"] = [finding["orders"]["item"].count_documents({}), finding.is_mongos]
finding.close()

try:
    connect(lambda text: without_direct(text) + "&replicaSet=rs0", wait=1500)["orders"].command("ping")
    found["replicaSet"] = "no error"
except PyMongoError as error:
    found["replicaSet"] = type(error).__name__


class Beats(monitoring.ServerHeartbeatListener):
    good = 0
    bad = 0

    def started(self, event):
        pass

    def succeeded(self, event):
        self.good += 1

    def failed(self, event):
        self.bad += 1


beats = Beats()
idle = connect(without_direct, heartbeatFrequencyMS=500, event_listeners=[beats])
idle["orders"].command("ping")
until = time.time() + 30
while beats.good < 10 and time.time() < until:
    time.sleep(0.05)
found["idle"] = [beats.good >= 10, beats.bad, idle["orders"].command("ping")["ok"]]
idle.close()
found["version"] = pymongo.version
print(json.dumps(found))
