//! What the child that evaluates configs may reply: it runs what others wrote, and is not to be trusted with its replies.
//!
//! They come to watches that a config could ask for, or to an error.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use twitcher::config::evaluate::Evaluator;
use twitcher::config::load::{Loaded, Source, Watches, load};
use twitcher::config::modules::ModuleSource;
use twitcher::config::resolve::Accounts;
use twitcher::model::{Action, Facet, StoreName, StoreNames, WatchSpec};
use twitcher::watch::{Policy, Recovery};

use super::watch;

const A_YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Replies that end in a newline each; after a NUL, what becomes of the watches they come to.
pub fn run(data: &[u8]) {
    let (replies, rest) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let mut evaluator = Evaluator::with_replies(packets(replies)).expect("/dev/null");
    let mut read = |path: &str| -> ModuleSource {
        assert!(path.ends_with(".rhai"), "{path:?} is read, which is no module");
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
    let Ok(Watches { specs, locations, .. }) = result else { return };
    assert_eq!(specs.len(), locations.len());
    locations.iter().for_each(|location| drop(location.to_string()));
    let names: HashSet<_> = specs.iter().map(|spec| &spec.id.description).collect();
    assert_eq!(names.len(), specs.len(), "two watches have one name");
    let mut input = Unstructured::new(rest);
    specs.iter().for_each(|spec| check(spec, &mut input));
}

/// Where each read gives one of the replies.
fn packets(replies: &[u8]) -> File {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK)
        .expect("a socket");
    for reply in replies.split_inclusive(|byte| *byte == b'\n') {
        // Those that find no room never came.
        let _ = send(ours.as_raw_fd(), reply, MsgFlags::empty());
    }
    File::from(theirs)
}

/// It is what `RegisterWatch` takes.
fn check(spec: &WatchSpec, input: &mut Unstructured<'_>) {
    let exec_context = &spec.exec_context;
    match &spec.action {
        Action::Command(words) => {
            assert!(words.first().is_some_and(|program| !program.is_empty()));
            assert!(!words.iter().any(|word| word.contains('\0')));
        }
        Action::Function { .. } => {}
    }
    assert!(spec.notify_signal.is_none_or(|signal| (1..=64).contains(&signal)));
    assert!(spec.max_parallel > 0);
    assert!(exec_context.umask <= 0o777 && exec_context.cwd.starts_with('/'));
    assert!(exec_context.nice.is_none_or(|nice| (-20..20).contains(&nice)));
    assert!(!exec_context.variables.keys().any(|name| name.starts_with("TWITCHER_") || name.contains('=')));
    let throttle = spec.throttle;
    let retry = spec.retry.map(|retry| [retry.delay, retry.max_delay]);
    let times = [throttle.debounce, throttle.min_interval, throttle.splay].into_iter();
    let times = times.chain(spec.timeout).chain(retry.into_iter().flatten());
    times.for_each(|time| assert!(time <= A_YEAR, "{time:?}"));
    assert!(!spec.id.to_string().contains(char::is_control));
    assert_eq!(spec.definition_hash(), spec.definition_hash());
    assert!(spec.same_definition(spec));
    let policy = Policy {
        run_mode: spec.run_mode,
        run_on_load: spec.run_on_load,
        notify_signal: spec.notify_signal,
        timeout: spec.timeout,
        max_parallel: spec.max_parallel as usize,
        retry: spec.retry,
        on_failure: spec.on_failure,
        throttle: spec.throttle,
        on_children: spec.subject.facet == Facet::Children,
        ..Policy::UNLOADED
    };
    watch::live(policy, Recovery::default(), input);
}
