//! The system calls that systemd/hardening.conf leaves the daemon, and what its processes need of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{command, here};

/// The groups of system calls that systemd knows, each with its members, of which some are groups.
fn groups() -> BTreeMap<String, Vec<String>> {
    let output = command("systemd-analyze").arg("syscall-filter").output();
    let output = output.expect("systemd-analyze is missing: apt-get install -y systemd");
    let mut groups = BTreeMap::<_, Vec<String>>::new();
    let mut group = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        match line.strip_prefix("    ") {
            Some(member) if member.starts_with('#') => {}
            Some(member) => groups.entry(group.clone()).or_default().push(member.to_owned()),
            None => line.clone_into(&mut group),
        }
    }
    groups
}

fn expand(groups: &BTreeMap<String, Vec<String>>, name: &str, calls: &mut BTreeSet<String>) {
    match groups.get(name) {
        Some(members) => members.iter().for_each(|member| expand(groups, member, calls)),
        None => {
            calls.insert(name.to_owned());
        }
    }
}

/// The system calls that the drop-in allows.
fn allowed() -> BTreeSet<String> {
    let text = fs::read_to_string(here("systemd/hardening.conf")).unwrap();
    let groups = groups();
    let mut calls = BTreeSet::new();
    for names in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        assert!(!names.starts_with('~'), "a list of what is denied: {names}");
        names.split(' ').for_each(|name| expand(&groups, name, &mut calls));
    }
    calls
}

/// The system calls that a file of the sources names.
fn named(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(here(file)).unwrap();
    let names = text.split("libc::SYS_").skip(1);
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    names.filter_map(|rest| rest.split(end).next()).map(str::to_owned).collect()
}

// The drop-in applies to the processes of stores as well, which the daemon starts. One that fails with EPERM
// and not with ENOSYS is none that a library knows how to do without.
#[test]
fn the_drop_in_leaves_the_processes_of_stores_the_system_calls_that_they_are_left() {
    let (allowed, needed) = (allowed(), named("src/sys/filter/table.rs"));
    assert!(allowed.len() > 200 && needed.len() > 100, "{} {}", allowed.len(), needed.len());
    let missing: Vec<_> = needed.difference(&allowed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for denied in ["mount", "ptrace", "bpf", "reboot", "init_module", "perf_event_open"] {
        assert!(!allowed.contains(denied), "{denied}");
    }
}
