//! Members as other programs read them.

use serde_json::{Value, json};

use super::{MEMBER, keeper, register, wait_for_member};
use crate::harness::{Nodes, Sandbox, kazoo};

fn zookeeper(sandbox: &Sandbox) -> (&str, &str) {
    match &sandbox.nodes {
        Nodes::ZooKeeper { address, root } => (address, root),
        Nodes::Directory(_) | Nodes::Etcd { .. } => panic!("no ZooKeeper"),
    }
}

// "kazoo, ndServiceRegistry ... see the members"
#[test]
fn kazoo_and_nd_service_registry_read_a_member() {
    let sandbox = Sandbox::zookeeper();
    let (address, root) = zookeeper(&sandbox);
    let url = sandbox.nodes.url();
    let _register = register(&sandbox, &url).args(["--data", "weight=10"]).start();
    wait_for_member(&sandbox);
    let script = format!(
        "import json\n\
         from nd_service_registry import KazooServiceRegistry\n\
         data, stat = zk.get('{root}{MEMBER}')\n\
         acls, _ = zk.get_acls('{root}{MEMBER}')\n\
         parent, _ = zk.get_acls('{root}/services/web')\n\
         nd = KazooServiceRegistry(server='{address}', readonly=True)\n\
         service = nd.get('{root}/services/web')\n\
         child = nd.get('{root}{MEMBER}')\n\
         print(json.dumps(dict(raw=data.decode(), owner=stat.ephemeralOwner, version=stat.version,\n\
         \x20   acl=[(a.perms, a.id.scheme, a.id.id) for a in acls],\n\
         \x20   parent=[(a.perms, a.id.scheme, a.id.id) for a in parent],\n\
         \x20   children=service['children'], data=child['data'])))\n\
         nd.stop()"
    );
    let said = kazoo(address, &script);
    let said: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    assert_ne!(said["owner"], json!(0));
    assert_eq!(said["version"], json!(0));
    assert_eq!(said["acl"], json!([[1, "world", "anyone"]]), "everybody may read it");
    assert_eq!(said["parent"], json!([[31, "world", "anyone"]]));
    assert_eq!(said["data"]["weight"], json!(10));
    assert!(said["data"]["pid"].is_number() && said["data"]["created"].is_string(), "{said}");
    let raw = said["raw"].as_str().expect("a text");
    assert!(raw.starts_with("{\"weight\":10,\"pid\":") && !raw.contains(' '.to_string().repeat(2).as_str()));
    assert!(said["children"].to_string().contains("h:1"), "{said}");
}

// A member that ndServiceRegistry registers is no member of ours, and is left alone until it goes.
#[test]
fn what_kazoo_holds_is_left_alone_until_it_goes() {
    let sandbox = Sandbox::zookeeper();
    let (address, root) = zookeeper(&sandbox);
    let url = sandbox.nodes.url();
    let gate = sandbox.gate();
    let script = format!(
        "import subprocess\n\
         zk.create('{root}{MEMBER}', b'theirs', ephemeral=True, makepath=True)\n\
         subprocess.run(['sh', '-c', {:?}])",
        gate.pass()
    );
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| kazoo(address, &script));
        crate::harness::wait_until("theirs", || sandbox.nodes.get(MEMBER).is_some());
        let register = register(&sandbox, &url).start();
        register.wait_for_log(&["it is not announced", "another one holds"]);
        assert_eq!(sandbox.nodes.get(MEMBER).as_deref(), Some(&b"theirs"[..]));
        gate.open();
        holder.join().expect("kazoo ends");
        register.wait_for_log(&[": it is announced"]);
        assert_eq!(register.log_lines(&["it is not announced"]).len(), 1);
        keeper(&register);
    });
}
