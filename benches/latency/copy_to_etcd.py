# Copies a tree from ZooKeeper to etcd, node by node. Arguments: ZooKeeper, etcdctl, etcd, the tree's root.
import subprocess
import sys

from kazoo.client import KazooClient

zookeeper, etcdctl, etcd, root = sys.argv[1:]
zk = KazooClient(hosts=zookeeper)
zk.start()


def copy(node):
    data, _ = zk.get(node)
    put = [etcdctl, "--endpoints", etcd, "put", "--", node, data]
    subprocess.run(put, stdout=subprocess.DEVNULL, check=True)
    for child in zk.get_children(node):
        copy(f"{node}/{child}")


copy(root)
zk.stop()
