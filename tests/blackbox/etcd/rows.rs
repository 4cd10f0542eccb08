//! The rows of typed tables as nodes, and the catalogue of tables.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};

use crate::harness::{Etcd, Nodes, Sandbox, Server, exec, txaioetcd, watch};

/// A server for one test, since rows know no prefix; and a sandbox whose store has one.
fn own() -> (Etcd, Sandbox) {
    let server = Etcd::start();
    let sandbox = Sandbox::on(&server);
    assert!(matches!(&sandbox.nodes, Nodes::Etcd { root, .. } if !root.is_empty()));
    (server, sandbox)
}

fn key(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal digits")
}

/// The value of this key, in base64.
fn value(server: &Etcd, hex: &str) -> Option<String> {
    let found = server.client().ask("kv/range", &json!({ "key": BASE64.encode(&key(hex)) }));
    found["kvs"].get(0).map(|kv| kv["value"].as_str().unwrap_or_default().to_owned())
}

const UUID: &str = "6e2c37fa-2f43-4d9c-9a10-0123456789ab";

// "Slot 4, OID 258: `00 04 00 00 00 00 00 00 01 02`"; "all commands ... work on rows and tables"
#[test]
fn commands_read_and_write_rows_by_their_binary_keys() {
    let (server, sandbox) = own();
    let run = |args: &[&str]| {
        let (first, rest) = args.split_first().unwrap();
        rest.iter().fold(sandbox.client([*first]), |command, arg| command.arg(arg)).finish()
    };
    let pair = format!("/@7:uuid-oid/{UUID}/258");
    for (node, hex) in [
        ("/@4:oid/258", "00040000000000000102"),
        ("/@4:oid/10", "0004000000000000000a"),
        ("/@4:oid/2", "00040000000000000002"),
        (&format!("/@1:uuid/{UUID}"), "00016e2c37fa2f434d9c9a100123456789ab"),
        ("/@2:string/a%2Fb", "0002612f62"),
        ("/@2:string/a", "000261"),
        ("/@2:string", "0002"),
        ("/@3:bytes/0a0b", "00030a0b"),
        (&pair, "00076e2c37fa2f434d9c9a100123456789ab0000000000000102"),
    ] {
        run(&["set", node, "x"]).expect(0);
        assert_eq!(value(&server, hex), Some(BASE64.encode(b"x")), "{node}");
        assert_eq!(run(&["get", node]).expect(0).text(), "x", "{node}");
        run(&["poke", node]).expect(0);
        run(&["set", node, "y", "--if-version", "2"]).expect(0);
        run(&["set", node, "z", "--create"]).expect(3);
    }
    assert_eq!(run(&["ls", "/@4:oid"]).expect(0).text(), "2\n10\n258\n");
    assert_eq!(run(&["tree", "/@4:oid"]).expect(0).text(), "/@4:oid\n├── 2\n├── 10\n└── 258\n");
    assert_eq!(run(&["ls", "/@2:string"]).expect(0).text(), "a\na%2Fb\n");
    assert_eq!(run(&["ls", "/@7:uuid-oid"]).expect(0).text(), format!("{UUID}\n"));
    assert_eq!(run(&["ls", &format!("/@7:uuid-oid/{UUID}")]).expect(0).text(), "258\n");
    assert_eq!(run(&["ls", "/"]).expect(0).text(), "", "rows are not below the root");
    let missing = run(&["ls", "/@5:oid"]).expect(1);
    missing.expect_said(&["/@5:oid", "does not exist", "as soon as it has a row"]);
    assert!(!missing.stderr.contains("twitcher set"), "no table can be set: {}", missing.stderr);
    run(&["get", "/@4:oid/3"]).expect(1).expect_said(&["does not exist", "create it with `twitcher set`"]);
    run(&["get", "/@4:oid"]).expect(1).expect_said(&["/@4:oid", "add the rest of a row's key"]);

    let transaction = json!({
        "if": [{"znode": "/@4:oid/2", "value": "y"}, {"znode": "/@4:oid/3", "absent": true}],
        "then": [{"set": "/@4:oid/3", "data": "3"}, {"rm": "/@4:oid/2"}],
    });
    sandbox.client(["txn"]).stdin(transaction.to_string()).finish().expect(0);
    assert_eq!(run(&["ls", "/@4:oid"]).expect(0).text(), "3\n10\n258\n");

    // A row is no parent of one whose key begins with it, and a table has only the rows of its type.
    run(&["rm", "/@2:string/a"]).expect(0);
    server.client().set_key(b"\0\x04no number", b"foreign");
    run(&["rm", "/@4:oid", "--recursive"]).expect(0);
    assert_eq!(value(&server, "00040000000000000102"), None);
    assert!(value(&server, &HEXLOWER.encode(b"\0\x04no number")).is_some());
    run(&["rm", "/@4:oid", "--recursive"]).expect(1).expect_said(&["does not exist"]);
    run(&["rm", "/@2:string", "--recursive"]).expect(0);
    assert_eq!((value(&server, "0002"), value(&server, "0002612f62")), (None, None));
}

// Export and import carry tables, into another table as well. What is no row is named before anything is
// written.
#[test]
fn tables_are_exported_and_imported() {
    let (server, sandbox) = own();
    let client = server.client();
    client.set_key(&key("0004000000000000000a"), b"ten");
    client.set_key(&key("00040000000000000002"), b"two");
    client.set_key(b"\0\x04no number", b"foreign");
    let exported = sandbox.client(["export", "/@4:oid"]).finish().expect(0).text();
    let nodes: Vec<_> = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    let nodes: Vec<_> = nodes.iter().map(|line| line["znode"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["/@4:oid", "/@4:oid/2", "/@4:oid/10"]);
    let elsewhere = sandbox.client(["import", "--at", "/@9:oid"]).stdin(&exported).finish();
    elsewhere.expect(0);
    assert_eq!(value(&server, "0009000000000000000a"), Some(BASE64.encode(b"ten")));
    client.set_key(&key("00040000000000000003"), b"three");
    sandbox.client(["import", "--mirror"]).stdin(&exported).finish().expect(0);
    assert_eq!(value(&server, "00040000000000000003"), None);
    assert!(value(&server, &HEXLOWER.encode(b"\0\x04no number")).is_some());
    for (node, words) in [("/@4:oid/x", "`x` is no oid"), ("/@4:oid", "it is a table and no row")] {
        let lines = format!("{}\n{}\n", json!({"znode": "/"}), json!({"znode": node, "data": "z"}));
        sandbox.client(["import"]).stdin(lines).finish().expect(1).expect_said(&[node, words]);
    }
    assert_eq!(value(&server, "00040000000000000002"), Some(BASE64.encode(b"two")));
    sandbox.client(["export", "/@4:oid/x"]).finish().expect(1).expect_said(&["`x` is no oid"]);
    sandbox.client(["export", "/@5:oid"]).finish().expect(1).expect_said(&["/@5:oid", "does not exist"]);
}

// A row path with a mistake is an error with the remedy, and only on etcd.
#[test]
fn the_path_of_no_row_is_refused_where_rows_are() {
    let (_server, sandbox) = own();
    let directory = Sandbox::directory();
    for (node, words) in [
        ("/@70000:oid/1", "slot 70000"),
        ("/@-1:oid/1", "slot -1 of a table"),
        ("/@4:oid/x", "`x` is no oid"),
        ("/@4:oid/9007199254740993", "up to 2^53"),
        ("/@1:uuid/6e2c", "is no uuid"),
        ("/@4:iod/1", "did you mean `oid`? (the types are oid, "),
    ] {
        for args in [
            vec!["get", node],
            vec!["set", node, "x"],
            vec!["ls", node],
            vec!["tree", node],
            vec!["rm", node],
            vec!["rm", "--recursive", node],
            vec!["poke", node],
        ] {
            let (first, rest) = args.split_first().unwrap();
            let command = rest.iter().fold(sandbox.client([*first]), |command, arg| command.arg(arg));
            command.finish().expect(1).expect_said(&[node, words]);
        }
        directory.client(["set", node, "x"]).finish().expect(0);
    }
    let text = watch("/@4:oid/x", &exec("true"), "");
    sandbox.config("bad.twc", &text);
    sandbox.settings(&format!("store = {:?}\n", sandbox.nodes.url()));
    let configs = sandbox.configs().display().to_string();
    let check = sandbox.twitcher(["check", "--config-path", &configs]).finish();
    let check = check.expect(1);
    check.expect_said(&["bad.twc", "`x` is no oid"]);
    assert_eq!(check.text(), "", "a file with a mistake is not ok");
    sandbox.settings("store = \"dir:/nowhere\"\n");
    sandbox.twitcher(["check", "--config-path", &configs]).finish().expect(0);
}

// "all watch types work on rows and tables"; the mistaken watch alone is wrong; foreign keys are said once.
#[test]
fn watches_of_rows_and_tables_run() {
    let (server, sandbox) = own();
    let client = server.client();
    client.set_key(b"\0\x04no number", b"foreign");
    client.set_key(&key("00040000000000000002"), b"two");
    let [data, children, tree] = ["data", "children", "tree"].map(|name| sandbox.journal_named(name));
    let more = |kind: &str| format!("watch_type: {kind}");
    sandbox.config("data.twc", watch("/@4:oid/258", &exec(&data.record_event()), ""));
    sandbox
        .config("children.twc", watch("/@4:oid", &exec(&children.record_event()), &more("WATCH_CHILDREN")));
    sandbox.config("tree.twc", watch("/@4:oid", &exec(&tree.record_event()), &more("WATCH_TREE")));
    sandbox.config("bad.twc", watch("/@70000:oid", &exec("true"), ""));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["slot 70000"]);
    daemon.wait_for_log(&["1 key below \"/@4:oid\"", "is no key of its type"]);
    client.set_key(&key("00040000000000000102"), b"first");
    data.wait_for_line_where("the row", |line| line.contains("first"));
    children.wait_for_line_where("the names", |line| line.contains("258"));
    tree.wait_for_line_where("the rows that changed", |line| line.contains("/@4:oid/258"));
    client.set_key(&key("00040000000000000102"), b"second");
    data.wait_for_line_where("the row", |line| line.contains("second"));
}

// "`twitcher tables attach NAME` gives a table its slot, safely against another attach"
#[test]
fn tables_get_slots_of_their_own_also_at_once() {
    let (server, sandbox) = own();
    let slots: Vec<_> = std::thread::scope(|scope| {
        let attach = |number: usize| {
            let name = format!("table{}", number / 2);
            sandbox.client(["tables", "attach", &name, "--description", "d"])
        };
        let all: Vec<_> = (0..8).map(attach).map(|client| scope.spawn(move || client.finish())).collect();
        all.into_iter().map(|one| one.join().unwrap().expect(0).text()).collect()
    });
    let mut distinct = slots.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct, ["1\n", "2\n", "3\n", "4\n"], "{slots:?}");
    assert!(slots.chunks(2).all(|pair| pair[0] == pair[1]), "{slots:?}");
    let before = value(&server, "00000001");
    let listed = sandbox.client(["tables", "--json"]).finish().expect(0).text();
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(4));
    assert_eq!((&listed[0]["slot"], &listed[0]["description"]), (&json!(1), &json!("d")));
    let first = listed[0]["name"].as_str().unwrap();
    assert_eq!(sandbox.client(["tables", "attach", first]).finish().expect(0).text(), "1\n");
    assert_eq!(value(&server, "00000001"), before);
    // What somebody else broke is named, and no slot is given on a guess.
    for (entry, words) in [
        (&b"\xff"[..], "byte 0"),
        (b"\x01", "it is no CBOR map"),
        (b"\xa1\x01\x02", "it is no CBOR map"),
        (b"\xa2dnamea9dslot\x04", "it says that it is the entry of slot 4"),
        (b"\xa2dnamea9dslota9", "its slot is no number"),
        (b"\xa1dname\x01", "its name is no text"),
    ] {
        server.client().set_key(&key("00000009"), entry);
        let listed = sandbox.client(["tables"]).finish().expect(1);
        listed.expect_said(&["slot 9", words, "get --decode cbor /@0:bytes/0009"]);
        assert_eq!(listed.text().lines().count(), 5, "{}", listed.text());
        sandbox.client(["tables", "attach", "new"]).finish().expect(1).expect_said(&["nothing was attached"]);
    }
    let set = |key: &str, entry: Value| {
        let node = format!("/@0:bytes/{key}");
        sandbox.client(["set", "--encode", "cbor", &node, &entry.to_string()]).finish().expect(0)
    };
    // Tables may have one name, and are then told apart by their object ids; one object id is a mistake.
    let other = "7e2c37fa-2f43-4d9c-9a10-0123456789ab";
    set("0009", json!({ "name": "same", "oid": UUID, "slot": 9 }));
    set("000a", json!({ "name": "same", "oid": other, "slot": 10 }));
    let listed = sandbox.client(["tables"]).finish().expect(0);
    listed.expect_said(&["the tables in the slots 9 and 10 have one name, same"]);
    assert_eq!(listed.text().lines().count(), 7, "{}", listed.text());
    let attach = |args: &[&str]| {
        let attach = sandbox.client(["tables", "attach", "same"]);
        args.iter().fold(attach, |attach, arg| attach.arg(arg)).finish()
    };
    attach(&[]).expect(1).expect_said(&["the slots 9 and 10", "--oid"]);
    assert_eq!(attach(&["--oid", other]).expect(0).text(), "10\n");
    set("000a", json!({ "name": "other", "oid": UUID, "slot": 10 }));
    let listed = sandbox.client(["tables"]).finish().expect(1);
    listed.expect_said(&["the slots 9 and 10", "one object id", UUID, "twitcher rm"]);
    assert_eq!(listed.text().lines().count(), 5, "{}", listed.text());
    attach(&["--oid", UUID]).expect(1).expect_said(&["nothing was attached"]);
    for other in [Sandbox::directory(), Sandbox::zookeeper()] {
        other.client(["tables"]).finish().expect(1).expect_said(&["typed tables", "etcd://"]);
        other.client(["tables", "attach", "x"]).finish().expect(1).expect_said(&["typed tables"]);
    }
}

// Another program attaches tables in the same moments, one after the other, and each keeps its slot.
#[test]
fn no_slot_of_another_program_is_taken() {
    let (server, sandbox) = own();
    let client = server.client();
    let entry =
        |slot: u16| BASE64.encode(&[&b"\xa1dnamei"[..], format!("their{slot:04}").as_bytes()].concat());
    let attach = |slot: u16| {
        let key = BASE64.encode(&[&[0, 0][..], &slot.to_be_bytes()].concat());
        let compare = json!({ "key": key, "target": "CREATE", "create_revision": "0" });
        let put = json!({ "request_put": { "key": key, "value": entry(slot) } });
        let done = client.ask("kv/txn", &json!({ "compare": [compare], "success": [put] }));
        done["succeeded"] == json!(true)
    };
    assert!(attach(1));
    let (theirs, ours): (Vec<u16>, Vec<u16>) = std::thread::scope(|scope| {
        let attach_ours = |number: usize| sandbox.client(["tables", "attach", &format!("our{number}")]);
        let ours: Vec<_> = (0..8)
            .map(attach_ours)
            .map(|client| scope.spawn(move || client.finish().expect(0).text()))
            .collect();
        let theirs = (2..500).filter(|slot| attach(*slot)).collect();
        (theirs, ours.into_iter().map(|one| one.join().unwrap().trim().parse().unwrap()).collect())
    });
    let listed = sandbox.client(["tables", "--json"]).finish().expect(0).text();
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    let name =
        |slot: &u16| listed.iter().find(|table| table["slot"] == json!(slot)).map(|table| &table["name"]);
    for slot in &theirs {
        assert_eq!(name(slot), Some(&json!(format!("their{slot:04}"))));
    }
    for (number, slot) in ours.iter().enumerate() {
        assert_eq!(name(slot), Some(&json!(format!("our{number}"))));
    }
}

// "`etcdctl`, a Python etcd client and txaioetcd read what we write and the other way round"
#[test]
fn txaioetcd_and_the_commands_share_tables() {
    let (server, sandbox) = own();
    assert_eq!(sandbox.client(["tables", "attach", "ours"]).finish().expect(0).text(), "1\n");
    let said = txaioetcd(
        &server.address(),
        r#"
keys = {
    "uuid": (U, str(U)), "string": ("a/b%", "a%2Fb%25"), "oid": (258, "258"),
    "uuid-uuid": ((U, V), f"{U}/{V}"), "uuid-string": ((U, "näme"), f"{U}/näme"),
    "bytes-uuid": ((7, U), f"0007/{U}"),
}
values = {
    "String": "text", "Oid": 77, "Uuid": V, "Json": {"a": [1, 2]}, "Cbor": {"a": [1, 2]}, "Pickle": [1, "x"],
    "FlatBuffers": "text",
}
import flatbuffers
def build(text, builder):
    offset = builder.CreateString(text)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, offset, 0)
    return builder.EndObject()
def cast(data):
    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0)
    table = flatbuffers.table.Table(bytearray(data), root)
    return table.String(table.Offset(4) + table.Pos).decode()
singles = ("uuid", "MapUuid"), ("string", "MapString"), ("oid", "MapOid")
kinds = [(prefix, key, value) for key, prefix in singles for value in values]
kinds += [("MapUuidUuid", "uuid-uuid", "Uuid"), ("MapUuidUuid", "uuid-uuid", "Cbor")]
kinds += [("MapUuidString", "uuid-string", "Uuid"), ("MapSlotUuid", "bytes-uuid", "Uuid")]
# Of a set of more, it reads the first one only.
values["UuidSet"] = {V}
kinds += [("MapUuid", "uuid", "UuidSet")]
rows = []
for prefix, key, value in kinds:
    name = prefix + value
    klass = getattr(etcd._pmap, name)
    marshal = dict(marshal=lambda it: it, parse=lambda it: it) if value in ("Json", "Cbor") else {}
    if value == "FlatBuffers": marshal = dict(build=build, cast=cast)
    for compress in (None, 1):
        oid = uuid.uuid4()
        table = await db._attach_slot(oid, klass, name=f"{name}-{compress}", compress=compress, **marshal)
        async with db.begin(write=True) as txn:
            table[txn, keys[key][0]] = values[value]
        rows.append((table, key, value, compress, f"/@{table.slot}:{key}/{keys[key][1]}"))
# Each row, as the commands see it.
for table, key, value, compress, node in rows:
    raw = tw("get", node)
    plain = zlib.decompress(raw) if compress else raw
    expected = {"String": b"text", "Oid": (77).to_bytes(8, "big"), "Uuid": V.bytes}.get(value)
    assert expected is None or plain == expected, (node, plain)
    if value == "UuidSet": assert plain == V.bytes, plain
    if value == "Json": assert json.loads(plain) == values[value]
    if value == "Cbor":
        assert cbor2.loads(plain) == values[value]
        if not compress: assert json.loads(tw("get", "--decode", "cbor", node)) == values[value]
    assert keys[key][1].split("/")[0].encode() in tw("ls", node[: node.index("/", 1)]).splitlines()
    # And back: what the commands write, it reads.
    tw("rm", node)
    async with db.begin() as txn: assert await table[txn, keys[key][0]] is None
    if value == "Cbor" and not compress: tw("set", "--encode", "cbor", node, '{"a":[1,2]}')
    else: tw("set", node, "-", stdin=raw)
    async with db.begin() as txn: assert await table[txn, keys[key][0]] == values[value], node
await db._get_slots(cached=False)
listed = json.loads(tw("tables", "--json"))
theirs = {str(oid): (slot.slot, slot.name) for oid, slot in db._slots.items()}
assert {table["oid"]: (table["slot"], table["name"]) for table in listed} == theirs
assert any(name == "ours" for _, name in theirs.values())
print(len(rows))
"#,
    );
    assert_eq!(said, "52\n");
}
