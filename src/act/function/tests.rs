use super::*;
use crate::config::facts::hostname;
use crate::config::registration::{RegisteredAction, Registration};
use crate::config::request::Reply;
use crate::model::Facts;
use crate::value::object;

fn request(source: &str, modules: &[(&str, &str)]) -> Request {
    Request {
        path: "/etc/twitcher/team/a.twc".into(),
        name: "team/a.twc".into(),
        source: source.into(),
        modules: modules.iter().map(|(path, source)| ((*path).into(), Ok((*source).into()))).collect(),
        facts: facts(),
    }
}

fn facts() -> Facts {
    let variables = [("SITE".to_owned(), Some("berlin".to_owned())), ("NONE".to_owned(), None)];
    Facts { hostname: "loaded".into(), variables: variables.into() }
}

fn load(source: &str, modules: &[(&str, &str)]) -> Vec<Registration> {
    match Interpreter::new().evaluate(&request(source, modules)) {
        Reply::Loaded { watches, .. } => watches,
        other => panic!("{source}: {other:?}"),
    }
}

fn run(source: &str, modules: &[(&str, &str)], index: usize) -> Result<u8, String> {
    run_with(source, modules, index, Facet::Data, b"one\xff")
}

fn run_with(
    source: &str,
    modules: &[(&str, &str)],
    index: usize,
    facet: Facet,
    content: &[u8],
) -> Result<u8, String> {
    load(source, modules);
    let Request { path, name, source, modules, facts } = request(source, modules);
    let modules = modules.into_iter().map(|(path, source)| (path, source.unwrap())).collect();
    let program = Arc::new(Program { path: path.into(), name, source, modules, facts });
    let event = ActEvent {
        znode: "/a".into(),
        event: "changed".into(),
        version: 7,
        watch: "w".into(),
        facet,
        format: None,
        commit: None,
    };
    act(ActRequest { program, index, event }, content.into())
}

#[test]
fn requests_survive_the_journey() {
    let program = Arc::new(Program {
        path: "/a.twc".into(),
        name: "a.twc".into(),
        source: "one\ntwo".into(),
        modules: [("m.rhai".to_owned(), Arc::from("three"))].into(),
        facts: facts(),
    });
    for content in [b"\n\0\xff{}\n".as_slice(), b""] {
        for facet in Facet::ALL {
            let event = ActEvent {
                znode: "/z".into(),
                event: "load".into(),
                version: -1,
                watch: "w".into(),
                facet,
                format: None,
                commit: None,
            };
            let request = ActRequest { program: program.clone(), index: 3, event: event.clone() };
            let (decoded, rest) = ActRequest::decode([&request.encode(), content].concat()).unwrap();
            assert_eq!((decoded.program, decoded.index, decoded.event), (program.clone(), 3, event));
            assert_eq!(rest, content);
        }
    }
    assert!(ActRequest::decode(b"".into()).is_err());
    assert!(ActRequest::decode(b"{}\n".into()).is_err());
}

#[test]
fn functions_see_what_they_saw_when_registered() {
    let m = ("team/m.rhai", "fn five() { 5 } fn maker(n) { |e| n + helper() } fn helper() { five() }");
    let table: [(&str, &str, usize, u8); 17] = [
        ("closure", "RegisterWatch(#{znode: `/a`, action: |e| 3})", 0, 3),
        ("nothing is 0", "RegisterWatch(#{znode: `/a`, action: |e| {}})", 0, 0),
        ("exit", "RegisterWatch(#{znode: `/a`, action: |e| exit(4)})", 0, 4),
        (
            "event",
            "RegisterWatch(#{znode: `/a`, action: |e| if e.text == `one\u{fffd}` && e.data.len == 4 && \
             e.znode == `/a` && e.children == [] && e.event == `changed` && e.watch == `w` \
             { e.version } else { 1 }})",
            0,
            7,
        ),
        (
            "by name",
            "fn act(e) { help() } fn help() { 6 } RegisterWatch(#{znode: `/a`, action: Fn(`act`)})",
            0,
            6,
        ),
        (
            "by name with the same closure name length",
            "fn act(e) { 8 } let f = Fn(`act`); RegisterWatch(#{znode: `/a`, action: f})",
            0,
            8,
        ),
        ("captured", "let n = 9; RegisterWatch(#{znode: `/a`, action: |e| n})", 0, 9),
        ("captured, then changed", "let n = 9; RegisterWatch(#{znode: `/a`, action: |e| n}); n = 1;", 0, 9),
        ("loop, first", "for n in 0..3 { RegisterWatch(#{znode: `/${n}`, action: |e| n + 10}) }", 0, 10),
        ("loop, last", "for n in 0..3 { RegisterWatch(#{znode: `/${n}`, action: |e| n + 10}) }", 2, 12),
        (
            "while loop",
            "let n = 0; while n < 3 { RegisterWatch(#{znode: `/${n}`, action: |e| n + 10}); n += 1; }",
            1,
            11,
        ),
        (
            "from a function",
            "fn reg(n) { RegisterWatch(#{znode: `/a`, action: |e| n + two()}) } fn two() { 2 } \
             reg(3); reg(4);",
            1,
            6,
        ),
        ("curried", "fn act(n, e) { n } RegisterWatch(#{znode: `/a`, action: Fn(`act`).curry(5)})", 0, 5),
        (
            "constant",
            "const N = 6; fn act(e) { global::N } RegisterWatch(#{znode: `/a`, action: Fn(`act`)})",
            0,
            6,
        ),
        (
            "module in a closure",
            "import `m` as m; RegisterWatch(#{znode: `/a`, action: |e| m::five()})",
            0,
            5,
        ),
        (
            "module in a function",
            "import `m` as m; fn act(e) { help() } fn help() { m::helper() } \
             RegisterWatch(#{znode: `/a`, action: Fn(`act`)})",
            0,
            5,
        ),
        (
            "import within",
            "fn act(e) { import `m` as m; m::five() } RegisterWatch(#{znode: `/a`, action: Fn(`act`)})",
            0,
            5,
        ),
    ];
    for (what, source, index, expected) in table {
        let source = source.replace("import `m`", "import \"m\"");
        assert_eq!(run(&source, &[m], index), Ok(expected), "{what}");
    }
    let made = "import \"m\" as m; RegisterWatch(#{znode: `/a`, action: m::maker(3)})";
    assert_eq!(run(made, &[m], 0), Ok(8), "closure made by a module");
    let registers = (
        "team/m.rhai",
        "fn reg(n) { RegisterWatch(#{znode: `/a`, action: |e| n + five()}) } fn five() { 5 }",
    );
    assert_eq!(run("import \"m\" as m; m::reg(2);", &[registers], 0), Ok(7), "registered by a module");
}

#[test]
fn a_function_has_the_facts_as_loaded_and_in_its_body_those_of_its_process() {
    let as_loaded = "let site = env(`SITE`); let none = env(`NONE`); let host = hostname(); \
        RegisterWatch(#{znode: `/a`, action: |e| \
            if [site, none, host] == [`berlin`, (), `loaded`] { 0 } else { 1 }})";
    assert_eq!(run(as_loaded, &[], 0), Ok(0));
    let in_body = format!(
        "RegisterWatch(#{{znode: `/a`, action: |e| \
         if hostname() == `{}` && env(`CARGO_PKG_NAME`) == `twitcher` && env(`NO_SUCH`, 7) == 7 \
         {{ 0 }} else {{ 1 }}}})",
        hostname()
    );
    assert_eq!(run(&in_body, &[], 0), Ok(0));
    let wrong = "RegisterWatch(#{znode: `/a`, action: |e| env(`A B`)})";
    assert!(run(wrong, &[], 0).unwrap_err().contains("not a valid name of an environment variable"));
}

#[test]
fn a_function_of_a_tree_watch_is_given_the_nodes_that_changed() {
    let lines = concat!(
        r#"{"znode":"/a","event":"created","version":5,"size":4,"text":"one\ufffd","base64":"b25l/w=="}"#,
        "\n",
        r#"{"znode":"/a/b","event":"changed","version":5,"size":0,"text":""}"#,
        "\n",
        r#"{"znode":"/a/c","event":"deleted"}"#,
        "\n",
    );
    for (what, condition) in [
        ("the event itself", "e.znode == `/a` && e.text == `` && e.data.len == 0 && e.children == []"),
        ("their order", "e.changes.map(|c| c.znode) == [`/a`, `/a/b`, `/a/c`]"),
        ("their events", "e.changes.map(|c| c.event) == [`created`, `changed`, `deleted`]"),
        ("a state", "let c = e.changes[0]; c.version == 5 && c.size == 4 && c.text == `one\u{fffd}`"),
        ("its bytes", "let d = e.changes[0].data; d.len == 4 && d[3] == 255 && e.changes[1].data.len == 0"),
        ("nothing", "let c = e.changes[2]; c.version == () && c.size == () && c.text == () && c.data == ()"),
    ] {
        let source = format!(
            "RegisterWatch(#{{znode: `/a`, action: |e| {{ \
             let ok = {{ {condition} }}; if ok {{ 0 }} else {{ 1 }} }}}})"
        );
        assert_eq!(run_with(&source, &[], 0, Facet::Tree, lines.as_bytes()), Ok(0), "{what}");
    }
    let source = "RegisterWatch(#{znode: `/a`, action: |e| e.changes.len})";
    assert_eq!(run(source, &[], 0), Ok(0), "of another watch");
}

#[test]
fn a_function_gets_the_members_by_their_names() {
    let deep = ["{\"a\":".repeat(127), "1".to_owned(), "}".repeat(127)].concat();
    let said = [
        ("a:80", br#"{"pid":1,"w":1.5}"#.as_slice()),
        ("b", b"null"),
        ("c", br#"{"string_value":{"$bytes":"/w=="}}"#),
        ("d\"", deep.as_bytes()),
    ];
    let mut object = Vec::new();
    object::write_members(said.into_iter(), &mut object).unwrap();
    for (what, condition) in [
        ("the names", "e.members.keys() == [`a:80`, `b`, `c`, `d\"`]".to_owned()),
        ("an object", "let m = e.members[\"a:80\"]; m.pid == 1 && m.w == 1.5".to_owned()),
        ("no data", "e.members.b == ()".to_owned()),
        ("bytes", "e.members.c.string_value[0] == 255".to_owned()),
        ("other fields", "e.children.len == 0 && e.data.len == 0 && e.text == ``".to_owned()),
    ] {
        let source = format!(
            "RegisterWatch(#{{znode: `/a`, action: |e| {{ \
             let ok = {{ {condition} }}; if ok {{ 0 }} else {{ 1 }} }}}})"
        );
        assert_eq!(run_with(&source, &[], 0, Facet::Members, &object), Ok(0), "{what}");
    }
    let source = "RegisterWatch(#{znode: `/a`, action: |e| e.members.len})";
    assert_eq!(run_with(source, &[], 0, Facet::Members, b""), Ok(0), "after a deletion");
    assert_eq!(run(source, &[], 0), Ok(0), "of another watch");
    let damaged = run_with(source, &[], 0, Facet::Members, b"{\"a\":").unwrap_err();
    assert!(damaged.contains("members are damaged"), "{damaged}");
}

#[test]
fn what_a_function_returns_is_its_exit_code_or_an_error() {
    for (body, expected) in [
        ("255", Ok(255)),
        ("256", Err("/etc/twitcher/team/a.twc: the function of registration 1 returned 256")),
        ("-1", Err("/etc/twitcher/team/a.twc: the function of registration 1 returned -1")),
        ("`x`", Err("/etc/twitcher/team/a.twc: the function of registration 1 returned a string")),
        ("throw `no`", Err("/etc/twitcher/team/a.twc:1:57: no\n  | ")),
        ("nosuch(1)", Err("/etc/twitcher/team/a.twc:1:57: unknown function `nosuch`")),
    ] {
        let source = format!("RegisterWatch(#{{znode: `/a`,                action: |e| {body}}})");
        match (run(&source, &[], 0), expected) {
            (Ok(code), Ok(expected)) => assert_eq!(code, expected, "{body}"),
            (Err(message), Err(start)) => assert!(message.starts_with(start), "{body}: {message}"),
            (result, _) => panic!("{body}: {result:?}"),
        }
    }
}

#[test]
fn functions_have_the_library() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f").to_string_lossy().into_owned();
    for body in [
        "write_file(F, `x\ny`); if read_file(F) == `x\ny` { 0 } else { 1 }",
        "write_file(F, e.data); run([`wc`, `-c`, F]).stdout.index_of(`4`)",
        "let r = run(`echo out; echo err >&2; exit 3`); \
         if r.stdout == `out\n` && r.stderr == `err\n` { r.code - 3 } else { 1 }",
        "run(`kill -9 $$`).code - 137",
        "let v = parse_json(`{\"a\": [1, null, 2.5]}`); if v.a[0] == 1 && v.a[1] == () { 0 } else { 1 }",
        "if parse_json(`[1]`) == [1] { 0 } else { 1 }",
        "log(`x`); print(1); debug(2); sleep(0.001); sleep(0);",
        "{ let f = open_file(F + `2`, `w`); f.write(`z`); } if read_file(F + `2`) == `z` { 0 } else { 1 }",
        "let r = cmd([`echo`, `a`]).pipe(cmd([`cat`])).build().run(); if r.stdout == `a\n` { 0 } else { 1 }",
        "try { read_file(`/no/such`); 1 } catch (e) { 0 }",
        "try { run([`/no/such`]); 1 } catch (e) { 0 }",
        "timestamp(); 0",
    ] {
        let body = body.replace('F', &format!("`{file}`"));
        let source = format!("RegisterWatch(#{{znode: `/a`, action: |e| {{ {body} }}}})");
        assert_eq!(run(&source, &[], 0), Ok(0), "{body}");
    }
}

fn fingerprint(source: &str, modules: &[(&str, &str)], index: usize) -> String {
    match &load(source, modules)[index].action {
        RegisteredAction::Function { fingerprint, .. } => fingerprint.clone(),
        RegisteredAction::Command(words) => panic!("{words:?}"),
    }
}

#[test]
fn fingerprints_change_with_the_code_and_nothing_else() {
    const BASE: &str = "fn help(x) { if x { |y| y + 1 } else { ` @ 1:5 ` } }\nlet n = 1;\n\
        RegisterWatch(#{znode: `/a`, action: |e| { let f = |z| z + n; help(n) }});";
    let base = fingerprint(BASE, &[], 0);
    for (what, from, to) in [
        ("again", "", ""),
        ("comment", "fn help", "// hello\n/* there */ fn help"),
        ("white space", "{ let f", "{\n\n    let f"),
        ("inner white space", "|z| z + n", "|z|  z  +  n"),
        ("another registration", "let n = 1;", "let n = 1; RegisterWatch(#{znode: `/b`, action: |e| 77});"),
        ("another key", "znode: `/a`", "timeout: 3, znode: `/a`"),
    ] {
        let source = BASE.replacen(from, to, 1);
        let index = usize::from(source.contains("/b"));
        assert_eq!(fingerprint(&source, &[], index), base, "{what}");
    }
    for (what, from, to) in [
        ("own code", "help(n)", "help(n + 0)"),
        ("nested closure", "z + n", "z - n"),
        ("called function", "if x", "if !x"),
        ("closure in a called function", "y + 1", "y + 2"),
        ("position-like string", "@ 1:5", "@ 1:6"),
        ("captured value", "let n = 1", "let n = 2"),
        ("captured type", "let n = 1", "let n = 1.0"),
        ("captured enum", "let n = 1", "let n = [QUEUE]"),
    ] {
        let source = BASE.replacen(from, to, 1);
        assert_ne!(source, BASE, "{what}");
        assert_ne!(fingerprint(&source, &[], 0), base, "{what}");
    }
    let queue = BASE.replacen("let n = 1", "let n = [QUEUE]", 1);
    assert_ne!(fingerprint(&queue, &[], 0), fingerprint(&queue.replace("QUEUE", "DISCARD"), &[], 0));

    let constant = "const N = 1; fn act(e) { global::N } RegisterWatch(#{znode: `/a`, action: Fn(`act`)})";
    assert_ne!(fingerprint(constant, &[], 0), fingerprint(&constant.replace("= 1", "= 2"), &[], 0));

    let importer = "import \"m\" as m; RegisterWatch(#{znode: `/a`, action: |e| m::f()})";
    let with = |module: &str| fingerprint(importer, &[("team/m.rhai", module)], 0);
    assert_eq!(with("fn f() { 1 }"), with("// more\n  fn f() { 1 }"));
    assert_ne!(with("fn f() { 1 }"), with("fn f() { 2 }"));
    assert_ne!(with("export const A = 1; fn f() { 1 }"), with("export const A = 2; fn f() { 1 }"));
    // The order of many functions in their library differs from the source.
    let many: String = (0..50).map(|n| format!("fn f{n}() {{ {n} }}\n")).collect();
    let source = format!("{many} RegisterWatch(#{{znode: `/a`, action: |e| f1()}})");
    assert_eq!(fingerprint(&source, &[], 0), fingerprint(&format!("\n\n{source}"), &[], 0));
}
