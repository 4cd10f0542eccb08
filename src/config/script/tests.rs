use super::*;
use crate::config::registration::Registration;
use crate::model::{Facts, Resource};

mod keys;
mod services;
mod wrong_values;

fn evaluate(source: &str) -> Reply {
    evaluate_with(source, &[])
}

fn evaluate_with(source: &str, modules: &[(&str, &str)]) -> Reply {
    evaluate_on(Facts::default(), source, modules)
}

fn evaluate_on(facts: Facts, source: &str, modules: &[(&str, &str)]) -> Reply {
    Interpreter::new().evaluate(&request(facts, source, modules))
}

fn request(facts: Facts, source: &str, modules: &[(&str, &str)]) -> Request {
    let modules = modules.iter().map(|(path, source)| ((*path).into(), Ok((*source).into()))).collect();
    Request {
        path: "/etc/twitcher/git.twc".into(),
        name: "git.twc".into(),
        source: source.into(),
        modules,
        facts,
    }
}

fn loaded(source: &str) -> Vec<Registration> {
    match evaluate(source) {
        Reply::Loaded { watches, .. } => watches,
        other => panic!("{source}: {other:?}"),
    }
}

fn failed(source: &str) -> String {
    failed_with(source, &[])
}

fn failed_with(source: &str, modules: &[(&str, &str)]) -> String {
    let request = request(Facts::default(), source, modules);
    match Interpreter::new().evaluate(&request) {
        Reply::Failed { mistakes, .. } => message::render(&mistakes, &request),
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn errors_quote_the_line_and_point_at_the_column() {
    assert_eq!(
        failed("let a = 1;\n\tRegisterWach(#{});"),
        "/etc/twitcher/git.twc:2:2: unknown function `RegisterWach`; did you mean `RegisterWatch`?\n  \
         |  RegisterWach(#{});\n  |  ^"
    );
    let message = failed("let a = ;");
    assert!(message.starts_with("/etc/twitcher/git.twc:1:9: "), "{message}");
    assert!(!message.contains("(line"), "{message}");
    let message = failed("fn reg(n) {\n RegisterWatch(n)\n}\nreg(3);");
    assert!(message.starts_with("/etc/twitcher/git.twc:2:2: RegisterWatch takes a map"), "{message}");
    assert!(message.ends_with("\n  called from /etc/twitcher/git.twc:4:1"), "{message}");
}

#[test]
fn configs_have_no_clock_no_eval_and_no_files() {
    for (source, expected) in [
        ("sleep(1)", "`sleep` is not available here"),
        ("sleep(0.1)", "`sleep` is not available here"),
        ("timestamp()", "`timestamp` is not available here"),
        ("eval(`1`)", "eval"),
        ("read_file(`/etc/passwd`)", "unknown function `read_file"),
        ("run(`true`)", "unknown function `run"),
    ] {
        let message = failed(source);
        assert!(message.starts_with("/etc/twitcher/git.twc:1:1: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn constants_are_visible_everywhere() {
    let watches = loaded(
        "fn reg(mode) { if mode == DISCARD { RegisterWatch(#{znode: `/a`, action: Exec(`x`), run_mode: mode, \
         watch_type: WATCH_CHILDREN}) } } let f = |m| reg(m); f.call(DISCARD); print(1); debug(2);",
    );
    assert_eq!(watches[0].facet, Facet::Children);
}

#[test]
fn modules_are_asked_for_and_used() {
    let source = "import \"lib/a\" as a; a::reg();";
    let needs = |reply| match reply {
        Reply::NeedsModule { path } => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(needs(evaluate(source)), "lib/a.rhai");
    let a = (
        "lib/a.rhai",
        "import \"b\" as b; fn reg() { RegisterWatch(#{znode: b::node(), action: Exec(`x`)}) }",
    );
    assert_eq!(needs(evaluate_with(source, &[a])), "lib/b.rhai");
    let b = ("lib/b.rhai", "fn node() { `/n` }");
    match evaluate_with(source, &[a, b]) {
        Reply::Loaded { watches, .. } => {
            assert_eq!(
                (watches[0].znode.as_str(), watches[0].position.source.as_str()),
                ("/n", "lib/a.rhai")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(needs(evaluate("fn later() { import \"c\" as c; }")), "c.rhai");
    assert_eq!(needs(evaluate("import \"c\" + 1 as c;")), "c1.rhai");
}

#[test]
fn errors_in_modules_name_the_module() {
    for (module, expected) in [
        ("let x = ;", "/etc/twitcher/a.rhai:1:9: "),
        ("\nnosuch();", "/etc/twitcher/a.rhai:2:1: unknown function `nosuch"),
        ("fn f() {\n  nosuch()\n}", "/etc/twitcher/a.rhai:2:3: unknown function `nosuch"),
        ("import \"a\" as b;", "/etc/twitcher/a.rhai:1:8: cannot import \"a\": a.rhai imports itself"),
    ] {
        let message = failed_with("import \"a\" as a;\na::f();", &[("a.rhai", module)]);
        assert!(message.contains(expected), "{module}: {message}");
    }
    for source in ["import \"/etc/x\" as x;", "import \"../x\" as x;"] {
        assert!(failed(source).starts_with("/etc/twitcher/git.twc:1:8: cannot import"));
    }
}

fn facts(hostname: &str, variables: &[(&str, Option<&str>)]) -> Facts {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    Facts { hostname: hostname.into(), variables: variables.collect() }
}

#[test]
fn a_config_is_told_the_facts_that_it_asks_for() {
    let source = "fn node() { \
            `/${hostname()}/${env(\"SITE\", `x`)}/${env(\"NONE\", `none`)}/${env(\"NONE\") == ()}` } \
        RegisterWatch(#{znode: node(), action: Exec(`x`)})";
    let needs = |known: &[_]| match evaluate_on(facts("web7", known), source, &[]) {
        Reply::NeedsVariable { name } => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(needs(&[]), "SITE");
    assert_eq!(needs(&[("SITE", Some("berlin"))]), "NONE");
    match evaluate_on(facts("web7", &[("SITE", Some("berlin")), ("NONE", None)]), source, &[]) {
        Reply::Loaded { watches, .. } => assert_eq!(watches[0].znode, "/web7/berlin/none/true"),
        other => panic!("{other:?}"),
    }
}

// A script may catch the error of a missing variable or module, but it must not go on without it.
#[test]
fn what_is_missing_is_asked_for_even_where_the_script_would_do_without() {
    assert!(matches!(evaluate("try { env(`X`) } catch {}"), Reply::NeedsVariable { name } if name == "X"));
    let computed = "try { import \"m\" + 1 as m; } catch {}";
    assert!(matches!(evaluate(computed), Reply::NeedsModule { path } if path == "m1.rhai"));
}

#[test]
fn wrong_questions_to_the_host_are_errors() {
    for (source, expected) in [
        ("env(`A B`)", "`env`: \"A B\" is not a valid name of an environment variable"),
        ("env(``, 1)", "`env`: \"\" is not a valid name of an environment variable"),
        ("env(1)", "env takes the name of a variable"),
        ("env()", "env takes the name of a variable"),
        ("hostname(1)", "hostname takes no argument"),
        ("hostnam()", "unknown function `hostnam`; did you mean `hostname`?"),
    ] {
        let message = failed(source);
        assert!(message.starts_with("/etc/twitcher/git.twc:1:1: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_word_of_the_language_as_a_key_is_explained() {
    for map in ["as: 1", "core: 1, as: 2"] {
        let message = failed(&format!("let x = #{{ {map} }};"));
        assert!(
            message.contains("`as` is a word of the language, and goes in quotes as a key: \"as\""),
            "{message}"
        );
    }
    for (source, expected) in
        [("let x = #{ 3: 1 };", "to end this object map literal\n"), ("let x = #{ a: 1", "never closed")]
    {
        let message = failed(source);
        assert!(message.contains(expected) && !message.contains("in quotes"), "{message}");
    }
}

#[test]
fn modules_share_constants_maps_and_whole_registrations() {
    let module = "export const ROOT = `/app`;\n\
        fn gentle() { \
            #{ nice: 10, run_mode: DISCARD, rlimits: #{ nofile: 64 }, env: #{ SITE: env(`SITE`) } } }\n\
        fn reg(name) { \
            let watch = #{ znode: `/${hostname()}/${name}`, action: Exec(`x`), uid: `nobody` }; \
            RegisterWatch(gentle() + watch) }";
    let source = "import \"lib/m\" as m;\n\
        RegisterWatch(m::gentle() + #{ znode: m::ROOT + `/a`, action: Exec(`x`) });\n\
        for name in [`b`, `c`] { m::reg(name); }";
    let watches =
        match evaluate_on(facts("web7", &[("SITE", Some("berlin"))]), source, &[("lib/m.rhai", module)]) {
            Reply::Loaded { watches, .. } => watches,
            other => panic!("{other:?}"),
        };
    let said: Vec<_> = watches
        .iter()
        .map(|watch| (watch.znode.as_str(), watch.position.source.as_str(), watch.position.line))
        .collect();
    assert_eq!(said, [("/app/a", "git.twc", 2), ("/web7/b", "lib/m.rhai", 3), ("/web7/c", "lib/m.rhai", 3)]);
    for watch in &watches {
        let exec_context = &watch.exec_context;
        assert_eq!((watch.policy.run_mode, exec_context.nice), (RunMode::Discard, Some(10)));
        assert_eq!(exec_context.variables["SITE"], "berlin");
        assert_eq!(exec_context.limits[&Resource::Nofile], 64);
    }
}

#[test]
fn a_missing_comma_is_no_word_of_the_language() {
    let message = failed("RegisterWatch(#{ znode: \"/a\", action: Exec(\"x\")\n timeout: 60 });");
    assert!(message.contains("','") && !message.contains("word of the language"), "{message}");
}

#[test]
fn each_syntax_error_of_a_module_is_reported_once() {
    let module = "let x = ;\nfn f() { g( }\nlet y = 5m;\nfn h() { {\n";
    let message = failed_with("import \"a\" as a;\na::f();", &[("a.rhai", module)]);
    let places: Vec<&str> =
        message.lines().filter_map(|line| line.strip_prefix("/etc/twitcher/a.rhai:")).collect();
    let places: Vec<_> = places.iter().filter_map(|line| line.split_once(": ")).map(|(at, _)| at).collect();
    assert_eq!(places, ["1:9", "2:13", "3:10", "4:8"], "{message}");
}

#[test]
fn at_most_twenty_syntax_errors_are_looked_for() {
    let message = failed(&"let x = ;\n".repeat(30));
    assert_eq!(message.matches("/etc/twitcher/git.twc:").count(), 20, "{message}");
    assert_eq!(message.matches("the rest of this statement is not checked").count(), 19, "{message}");
    assert!(message.ends_with("the rest of the file is not checked before this is mended"), "{message}");
}

// What the script does behind the error is unknown, and so is which function is meant.
#[test]
fn no_function_is_taken_from_a_script_with_a_syntax_error() {
    let source = "RegisterWatch(#{ znode: \"/a\", action: |event| 0 });\nlet x = ;\n";
    let error = Interpreter::new().function(&request(Facts::default(), source, &[]), 0).err();
    assert!(error.is_some_and(|error| error.starts_with("/etc/twitcher/git.twc:2:9: ")));
}

#[test]
fn a_script_with_a_syntax_error_that_does_not_end_has_the_error_all_the_same() {
    let message = failed("let n = ;\nlet m = 0;\nloop { m += 1 }\n");
    assert!(message.starts_with("/etc/twitcher/git.twc:1:9: "), "{message}");
    assert!(!message.contains("2 s"), "{message}");
}
