# Copies a tree from etcd to ZooKeeper, node by node. Arguments: ZooKeeper, etcdctl, etcd, the tree's root.
import base64
import json
import subprocess
import sys

from kazoo.client import KazooClient

zookeeper, etcdctl, etcd, root = sys.argv[1:]
zk = KazooClient(hosts=zookeeper)
zk.start()
get = [etcdctl, "--endpoints", etcd, "get", "--prefix", root, "--write-out", "json"]
found = json.loads(subprocess.run(get, stdout=subprocess.PIPE, check=True).stdout)
for kv in found["kvs"]:
    node = base64.b64decode(kv["key"]).decode()
    zk.create(node, base64.b64decode(kv.get("value", "")), makepath=True)
zk.stop()
