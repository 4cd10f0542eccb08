//! Replies of the child that evaluates configs. It runs what others wrote, so its replies are not trusted:
//! they must lead to watches that a config could register, or to an error.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use twitcher::config::evaluate::Evaluator;
use twitcher::config::load::{Loaded, Source, Watches, load};
use twitcher::config::request::ModuleSource;
use twitcher::config::resolve::Accounts;
use twitcher::model::{Action, Check, NodePath, ServiceSpec, StoreName, StoreNames, WatchSpec};
use twitcher::watch::Recovery;

use super::watch;

const A_YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// `data` has replies, each ended by a newline, and after a NUL the history of the watches that they lead to.
pub fn run(data: &[u8]) {
    let (replies, rest) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let mut evaluator = Evaluator::with_replies(packets(replies)).expect("/dev/null");
    let mut read = |path: &str| -> ModuleSource {
        assert!(path.ends_with(".rhai"), "{path:?} is read, which is not a module");
        if path.contains("lib") { Ok(Arc::from("fn f() { 1 }")) } else { Err("no such module".into()) }
    };
    let source = Source {
        path: "/etc/twitcher/team/git.twc".into(),
        name: "team/git.twc".into(),
        text: "let a = 1;\nRegisterWatch(#{ znode: \"/a\" });\n".into(),
    };
    let stores = StoreNames::from([StoreName::default()]);
    let Loaded { result, modules } =
        load(source, &mut evaluator, &mut Accounts::default(), Some(&stores), &mut read);
    assert!(modules.len() <= 64);
    let Ok(Watches { specs, services, locations, .. }) = result else { return };
    assert_eq!(specs.len() + services.len(), locations.len());
    locations.iter().for_each(|location| drop(location.to_string()));
    let of_services = services.iter().map(|spec| &spec.id.description);
    let names: HashSet<_> = specs.iter().map(|spec| &spec.id.description).chain(of_services).collect();
    assert_eq!(names.len(), locations.len(), "two of them have one name");
    let members: HashSet<_> = services.iter().map(|spec| &spec.member.name).collect();
    assert_eq!(members.len(), services.len(), "two services have one member");
    services.iter().for_each(check_service);
    let mut input = Unstructured::new(rest);
    specs.iter().for_each(|spec| check(spec, &mut input));
}

/// Returns a file that gives one reply with each read.
fn packets(replies: &[u8]) -> File {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK)
        .expect("a socket");
    for reply in replies.split_inclusive(|byte| *byte == b'\n') {
        // A reply that does not fit is left out.
        let _ = send(ours.as_raw_fd(), reply, MsgFlags::empty());
    }
    File::from(theirs)
}

/// Checks that the service is one that `RegisterService` accepts.
fn check_service(spec: &ServiceSpec) {
    let name = &spec.member.name;
    assert_eq!(NodePath::parse(name.path.as_str()).as_ref(), Ok(&name.path));
    assert!(!name.address().is_empty() && name.path.as_str().starts_with(name.service()));
    assert!(spec.member.data.size() <= 1_000_000);
    assert!(spec.port != Some(0));
    if let Some(Check { action, pace }) = &spec.check {
        if let Action::Command(words) = action {
            assert!(words.first().is_some_and(|program| !program.is_empty()));
        }
        assert!(pace.rise > 0 && pace.fall > 0);
        assert!(pace.interval >= Duration::from_millis(100) && pace.interval <= A_YEAR);
        assert!(!pace.timeout.is_zero() && pace.timeout <= A_YEAR);
    }
    assert!(!spec.id.to_string().contains(char::is_control));
    assert!(spec.defines_same_as(&spec.clone()) && spec.has_same_check(spec));
}

/// Checks that the watch is one that `RegisterWatch` accepts.
fn check(spec: &WatchSpec, input: &mut Unstructured<'_>) {
    let WatchSpec { policy, exec_context, .. } = spec;
    match &spec.action {
        Action::Command(words) => {
            assert!(words.first().is_some_and(|program| !program.is_empty()));
            assert!(!words.iter().any(|word| word.contains('\0')));
        }
        Action::Function { .. } => {}
    }
    assert!(policy.notify_signal.is_none_or(|signal| (1..=64).contains(&signal)));
    assert!(policy.max_parallel > 0);
    assert!(exec_context.umask <= 0o777 && exec_context.cwd.starts_with('/'));
    assert!(exec_context.nice.is_none_or(|nice| (-20..20).contains(&nice)));
    assert!(!exec_context.variables.keys().any(|name| name.starts_with("TWITCHER_") || name.contains('=')));
    let throttle = policy.throttle;
    let retry = policy.retry.map(|retry| [retry.delay, retry.max_delay]);
    let times = [throttle.debounce, throttle.min_interval, throttle.splay].into_iter();
    let times = times.chain(policy.timeout).chain(retry.into_iter().flatten());
    times.for_each(|time| assert!(time <= A_YEAR, "{time:?}"));
    assert!(!spec.id.to_string().contains(char::is_control));
    let copy = spec.clone();
    assert_eq!(copy.definition_hash(), spec.definition_hash());
    assert_eq!(&copy, spec);
    watch::live((**policy).clone(), spec.subject.facet, Recovery::default(), input);
}
