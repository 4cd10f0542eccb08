//! The meaning of each signal that a process can send to the daemon. The table in docs/operations.md shows
//! the same.
//!
//! Without a handler, most signals end a process. A daemon that one of them ended would leave its actions
//! behind, so each has a meaning.

use std::collections::BTreeSet;

use nix::libc::{self, SIGRTMAX, SIGRTMIN};
use nix::sys::signal::Signal;

/// What the daemon does when it receives a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Stop,
    Reload,
    /// The processor time of the soft limit is used up.
    ProcessorLimit,
    /// Nothing, which is logged once.
    Ignored,
}

const MEANINGS: [(i32, Meaning); 13] = [
    (libc::SIGTERM, Meaning::Stop),
    (libc::SIGINT, Meaning::Stop),
    (libc::SIGQUIT, Meaning::Stop),
    (libc::SIGHUP, Meaning::Reload),
    (libc::SIGXCPU, Meaning::ProcessorLimit),
    (libc::SIGUSR1, Meaning::Ignored),
    (libc::SIGUSR2, Meaning::Ignored),
    (libc::SIGALRM, Meaning::Ignored),
    (libc::SIGVTALRM, Meaning::Ignored),
    (libc::SIGPROF, Meaning::Ignored),
    (libc::SIGIO, Meaning::Ignored),
    (libc::SIGPWR, Meaning::Ignored),
    (libc::SIGSTKFLT, Meaning::Ignored),
];

/// Returns the signals that the daemon receives. Of the others, SIGPIPE and SIGXFSZ are ignored, because the
/// write that caused them fails as well; SIGCHLD, SIGURG, SIGWINCH and SIGCONT do nothing; the stop signals
/// stop the process until SIGCONT; and the rest, such as SIGKILL and SIGSEGV, ends it.
pub fn received() -> Vec<i32> {
    MEANINGS.iter().map(|(signal, _)| *signal).chain(SIGRTMIN()..=SIGRTMAX()).collect()
}

/// Returns the meaning of a received signal. Real-time signals have none.
pub fn meaning(signal: i32) -> Meaning {
    let listed = MEANINGS.iter().find(|(listed, _)| *listed == signal);
    listed.map_or(Meaning::Ignored, |(_, meaning)| *meaning)
}

/// Returns `SIGHUP`, or `signal 34` for a signal without a name.
pub fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

/// The signals without effect that were logged already. A timer may send one again and again.
#[derive(Default)]
pub struct Said(BTreeSet<i32>);

impl Said {
    /// Returns the text for the log, once for each signal.
    pub fn text(&mut self, signal: i32) -> Option<String> {
        self.0.insert(signal).then(|| match meaning(signal) {
            Meaning::ProcessorLimit => {
                "SIGXCPU: this daemon has used the processor time of its soft limit, and the kernel kills \
                 it at the hard limit; raise RLIMIT_CPU (`LimitCPU=`) and restart it"
                    .to_owned()
            }
            Meaning::Stop | Meaning::Reload | Meaning::Ignored => format!(
                "{} is ignored, also from now on; SIGHUP reads the configs again, and SIGTERM stops the \
                 daemon",
                name(signal)
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_that_would_end_the_daemon_is_received_or_cannot_be_survived() {
        let received: BTreeSet<i32> = received().into_iter().collect();
        // They do nothing or stop the process; a fault or SIGKILL cannot be survived; glibc keeps two.
        let others = "CHLD URG WINCH CONT STOP TSTP TTIN TTOU PIPE XFSZ KILL SEGV BUS FPE ILL TRAP SYS ABRT";
        let others: BTreeSet<String> = others.split(' ').map(|name| format!("SIG{name}")).collect();
        for signal in 1..=64 {
            let reserved = signal > 31 && signal < SIGRTMIN();
            let expected = !others.contains(&name(signal)) && !reserved;
            assert_eq!(received.contains(&signal), expected, "{}", name(signal));
        }
    }

    #[test]
    fn a_signal_without_effect_is_said_once() {
        let mut said = Said::default();
        assert!(said.text(libc::SIGUSR1).is_some_and(|text| text.starts_with("SIGUSR1 is ignored")));
        assert_eq!(said.text(libc::SIGUSR1), None);
        assert!(said.text(libc::SIGXCPU).is_some_and(|text| text.contains("RLIMIT_CPU")));
        assert_eq!((said.text(libc::SIGXCPU), said.text(libc::SIGUSR2).is_some()), (None, true));
    }

    #[test]
    fn operators_can_read_the_meaning_of_each_signal() {
        let document = include_str!("../../docs/operations.md");
        let (_, table) = document.split_once("\n## Signals\n").unwrap();
        for (signal, meaning) in MEANINGS {
            let row = table.lines().find(|row| row.split([' ', ',', '|']).any(|word| word == name(signal)));
            let expected = match meaning {
                Meaning::Stop => "| stops: ",
                Meaning::Reload => "| reads the configs again",
                Meaning::ProcessorLimit => "(`LimitCPU=`)",
                Meaning::Ignored => "| nothing, and the log says so once",
            };
            assert!(row.is_some_and(|row| row.contains(expected)), "{}: {row:?}", name(signal));
        }
    }
}
