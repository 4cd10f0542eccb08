//! What `RegisterService` accepts, and its mistakes.

use std::time::Duration;

use super::*;
use crate::config::registration::{CallPosition, ServiceRegistration};
use crate::model::{Account, ExecContext, MemberAcl, MemberData, MemberFormat, Pace};

fn facts() -> Facts {
    Facts { hostname: "web7".into(), ..Facts::default() }
}

fn services(source: &str) -> Vec<ServiceRegistration> {
    match evaluate_on(facts(), source, &[]) {
        Reply::Loaded { services, .. } => services,
        other => panic!("{source}: {other:?}"),
    }
}

/// A service with these keys besides `service`.
fn with(keys: &str) -> ServiceRegistration {
    services(&format!("RegisterService(#{{service: `/s/web`, {keys}}})")).remove(0)
}

/// What its member says, with 7 for the process.
fn data(MemberData(parts): &MemberData) -> String {
    String::from_utf8(MemberData(parts.clone()).fill(7, "TIME", 9)).unwrap()
}

fn wrong(source: &str) -> String {
    let request = request(facts(), source, &[]);
    match Interpreter::new().evaluate(&request) {
        Reply::Failed { mistakes, .. } => message::render(&mistakes, &request),
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let service = with("port: 8080");
    let expected = ServiceRegistration {
        description: "git.twc-1".into(),
        store: None,
        service: "/s/web".into(),
        address: "web7:8080".into(),
        port: Some(8080),
        format: MemberFormat::Registry,
        given: service.given.clone(),
        data: service.data.clone(),
        acl: MemberAcl::Read,
        check: None,
        pace: Pace { interval: Duration::from_secs(10), timeout: Duration::from_secs(5), rise: 1, fall: 2 },
        drain: Duration::ZERO,
        uid: None,
        gid: None,
        exec_context: ExecContext::default(),
        position: CallPosition { source: "git.twc".into(), line: 1, column: 1 },
        keys: Vec::new(),
    };
    assert_eq!(service, expected);
    assert_eq!(data(&service.data), "{\"pid\":7,\"created\":\"TIME\"}");
}

#[test]
fn every_key_is_understood() {
    assert_eq!(with("address: `a`").address, "a");
    assert_eq!(with("address: `a`").port, None);
    assert_eq!(with("port: 1, store: `eu`").store.as_deref(), Some("eu"));
    assert_eq!(with("port: 1, description: `web`").description, "web");
    for acl in MemberAcl::ALL {
        assert_eq!(with(&format!("port: 1, acl: {}", acl.as_str())).acl, acl);
    }
    for format in MemberFormat::ALL.into_iter().filter(|it| *it != MemberFormat::Raw) {
        assert_eq!(with(&format!("port: 1, data: #{{}}, format: {}", format.as_str())).format, format);
    }
    let service = with("port: 1, check: Exec([`c`]), interval: 0.5, timeout: 2, rise: 3, fall: 4, uid: 5");
    assert_eq!(service.check, Some(RegisteredAction::Command(vec!["c".into()])));
    let seconds = Duration::from_secs_f64;
    assert_eq!(service.pace, Pace { interval: seconds(0.5), timeout: seconds(2.0), rise: 3, fall: 4 });
    assert_eq!(service.uid, Some(Account::Id(5)));
    let service = with("port: 1, check: Exec(`c`), cwd: `/srv`, env: #{A: 1}, umask: 0, nice: 1");
    let ExecContext { cwd, variables, umask, nice, .. } = service.exec_context;
    assert_eq!((cwd.as_str(), variables["A"].as_str(), umask, nice), ("/srv", "1", 0, Some(1)));
    let both = "RegisterWatch(#{znode: `/a`, action: Exec(`x`)});\n\
                RegisterService(#{service: `/s`, port: 1, check: |e| 0});\nfn f(e) { 0 }\n\
                RegisterService(#{service: `/`, port: 1, check: Fn(`f`)})";
    let [first, second] = &services(both)[..] else { panic!("two services") };
    let index = |service: &ServiceRegistration| match service.check {
        Some(RegisteredAction::Function { index, .. }) => index,
        _ => panic!("{service:?}"),
    };
    assert_eq!((index(first), index(second)), (1, 2));
    assert_eq!((first.path(), second.path()), ("/s/web7:1".into(), "/web7:1".into()));
    assert_eq!(first.description, "git.twc-2");
}

#[test]
fn data_is_written_in_each_format() {
    for (keys, expected) in [
        (
            "data: #{b: 1, a: [true, (), 1.5, `x`], c: #{d: #{}}}",
            "{\"a\":[true,null,1.5,\"x\"],\"b\":1,\"c\":{\"d\":{}},\"pid\":7,\"created\":\"TIME\"}",
        ),
        (
            "data: #{weight: 1}, format: NERVE",
            "{\"host\":\"web7\",\"port\":80,\"name\":\"web7\",\"weight\":1}",
        ),
        (
            "format: SERVERSET",
            "{\"serviceEndpoint\":{\"host\":\"web7\",\"port\":80},\"additionalEndpoints\":{},\
             \"status\":\"ALIVE\"}",
        ),
        ("format: RAW", ""),
        ("format: RAW, data: `as it is`", "as it is"),
        ("format: RAW, data: `ab`.to_blob()", "ab"),
    ] {
        assert_eq!(data(&with(&format!("port: 80, {keys}")).data), expected, "{keys}");
    }
    let nerve = with("address: `10.0.0.1:81`, format: NERVE");
    assert_eq!(data(&nerve.data), "{\"host\":\"10.0.0.1\",\"port\":81,\"name\":\"web7\"}");
    let curator = data(&with("port: 80, format: CURATOR").data);
    assert!(curator.starts_with("{\"name\":\"web\",\"id\":\"web7:80\",\"address\":\"web7\",\"port\":80,"));
}

#[test]
fn wrong_values_are_errors_that_name_them() {
    for (keys, expected) in [
        ("", "missing key `service` (string): the path of the node that members are children of"),
        (
            "service: `/s`",
            "missing key `port` (int from 1 to 65535): the port of the service, unless `address`",
        ),
        ("service: `s`, port: 1", "`service`: node path \"s\" is not absolute"),
        ("servce: `/s`, port: 1", "unknown key `servce`; did you mean `service`?"),
        ("service: `/s`, prot: 1", "unknown key `prot`; did you mean `port`?"),
        ("service: `/s`, port: 0", "`port`: 0 is not between 1 and 65535"),
        ("service: `/s`, port: 65536", "`port`: 65536 is not between 1 and 65535"),
        ("service: `/s`, port: `80`", "`port` must be an int, not a string; write 80 without quotes"),
        ("service: `/s`, address: `a/b`", "`address`: \"a/b\" has a slash; it is the name of one node"),
        ("service: `/s`, address: ``", "`address` is empty; leave it out for the default"),
        ("service: `/s`, address: `..`", "`address`: node path \"/..\""),
        ("service: `/s`, port: 1, data: 3", "`data` must be a map, #{ weight: 10 }, not an int"),
        (
            "service: `/s`, port: 1, data: `x`",
            "`data` must be a map, #{ weight: 10 }; a string or a blob is for",
        ),
        (
            "service: `/s`, port: 1, format: RAW, data: #{}",
            "`data` must be a string or a blob with format: RAW",
        ),
        (
            "service: `/s`, port: 1, data: #{a: #{b: Exec(`x`)}}",
            "`data`: `a.b` must be a string, a number, a bool, an array or a map, not an Exec(...)",
        ),
        ("service: `/s`, port: 1, data: #{a: 0.0/0.0}", "`data`: `a`: NaN is no number of JSON"),
        (
            "service: `/s`, port: 1, format: NERVE, data: #{host: 1}",
            "`data`: NERVE has the key `host` itself",
        ),
        (
            "service: `/s`, address: `a`, format: CURATOR",
            "`format`: CURATOR needs a port; set `port`, or end",
        ),
        (
            "service: `/s`, port: 1, format: JSON",
            "`format` must be REGISTRY, CURATOR, SERVERSET, NERVE or RAW",
        ),
        ("service: `/s`, port: 1, format: `nerve`", "(without quotes), not a string; did you mean `NERVE`?"),
        (
            "service: `/s`, port: 1, acl: `read`",
            "`acl` must be OPEN, READ or OWNER (without quotes), not a string",
        ),
        ("service: `/s`, port: 1, check: `x`", "`check` is a string; write Exec(\"...\") to run it"),
        ("service: `/s`, port: 1, check: || 1", "`check`: the closure takes 0 arguments; it must take one"),
        ("service: `/s`, port: 1, check: Fn(`nosuch`)", "`check`: unknown function `nosuch`"),
        ("service: `/s`, port: 1, check: OK, interval: 0", "`interval` must be a number of seconds above 0"),
        ("service: `/s`, port: 1, check: OK, interval: 0.01", "`interval`: 0.01 s is less than 0.1 s"),
        (
            "service: `/s`, port: 1, check: OK, timeout: `5s`",
            "`timeout` must be a number of seconds, not a string",
        ),
        ("service: `/s`, port: 1, check: OK, rise: 0", "`rise`: 0 is less than 1"),
        ("service: `/s`, port: 1, check: OK, fall: 1.5", "`fall` must be an int, not a float"),
        ("service: `/s`, port: 1, interval: 3", "`interval` is for a service with `check` only"),
        ("service: `/s`, port: 1, uid: 3", "`uid` is for a service with `check` only"),
        ("service: `/s`, port: 1, check: OK, run_mode: QUEUE", "unknown key `run_mode`"),
        ("service: `/s`, port: 1, znode: `/a`", "unknown key `znode`"),
    ] {
        let message = wrong(&format!("const OK = Exec(`true`);\nRegisterService(#{{{keys}}})"));
        assert!(message.contains(expected), "{keys}\n{message}");
        assert!(message.contains("of service \"git.twc-1\""), "{message}");
    }
    assert!(wrong("RegisterService(3)").contains("RegisterService takes a map, RegisterService(#{ ... })"));
    assert!(wrong("RegisterService()").contains("RegisterService takes one argument, a map"));
    assert!(wrong("RegisterServce(#{})").contains("did you mean `RegisterService`?"));
    let big = format!(
        "let a = \"x\"; a.pad(1000001, \"x\"); RegisterService(#{{service: `/s`, port: 1, {}}})",
        "\
        format: RAW, data: a"
    );
    assert!(wrong(&big).contains("`data`: 1000001 bytes are more than the 1000000 that a node can hold"));
}

#[test]
fn a_mistake_stands_at_its_key() {
    let message =
        wrong("RegisterService(#{\n  service: `/s`,\n  port: 0,\n  data: #{\n    a: |x| 1,\n  },\n})");
    assert!(message.contains("git.twc:3:3: `port`: 0"), "{message}");
    assert!(message.contains("git.twc:5:5: `data`: `a` must be a string"), "{message}");
    assert!(
        message.contains("of service \"git.twc-1\", registered at /etc/twitcher/git.twc:1:1"),
        "{message}"
    );
}

#[test]
fn one_member_of_a_store_is_registered_once() {
    let service = |keys: &str| format!("RegisterService(#{{service: `/s`, {keys}}});\n");
    let twice = [service("port: 1"), service("address: `web7:1`")].concat();
    let message = wrong(&twice);
    assert!(
        message.contains("git.twc:2:34: duplicate member /s/web7:1; give it another port or"),
        "{message}"
    );
    assert!(message.contains("another service has it, registered at /etc/twitcher/git.twc:1:1"), "{message}");
    let differing = ["port: 1", "port: 2", "port: 1, store: `eu`"].map(service).concat();
    assert_eq!(services(&differing).len(), 3);
    let watch = "RegisterWatch(#{znode: `/n`, action: Exec(`x`), description: `a`})";
    let names = [service("port: 1, description: `a`"), watch.to_owned()].concat();
    assert!(wrong(&names).contains("duplicate `description` \"a\"; it names the watch within its file"));
}
