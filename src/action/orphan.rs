//! Actions that outlived their daemon.
//!
//! An orphan is no child of ours: init reaps it, so nobody can tell how it ended. A
//! [`ProcessWatch`] tells that it ended.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::unistd::Pid;

use super::proc::{self, ProcessId, ProcessStat};
use super::process_watch::ProcessWatch;
use super::slots::Trace;

/// A run of a former daemon that has not ended.
pub struct Orphan {
    pub leader: Pid,
    pub process: ProcessId,
    /// Tells when the leader has ended.
    pub watch: ProcessWatch,
    /// The time since the process was made.
    pub age: Duration,
    /// Whether it executes its program. Its start may still hang.
    pub has_executed: bool,
}

/// Finds the processes of runs whose end is not known.
pub struct Finder<P> {
    /// Lists all processes.
    processes: P,
    /// The processes that have the id of a run in their environment, by this id. They are looked for once for
    /// all runs, and only if a run needs it.
    by_environment: Option<HashMap<String, ProcessStat>>,
}

impl<I: Iterator<Item = ProcessStat>, P: Fn() -> I> Finder<P> {
    pub fn new(processes: P) -> Self {
        Self { processes, by_environment: None }
    }

    /// Finds the process of `run`; `None` if it has ended.
    ///
    /// A process is identified by its number and its start since boot: as the ledger has them, or as the
    /// process noted them itself. By now each process has done so: until then, it holds the lock on the state
    /// directory, which we waited for (see `cli::run::locks`). Where neither is known, because an older
    /// version started the run or the state directory was full, the process is identified by its environment,
    /// which it can overwrite.
    pub fn find(
        &mut self,
        run: &str,
        process: Option<ProcessId>,
        trace: Option<Trace>,
    ) -> io::Result<Option<Orphan>> {
        let living = match (process, trace) {
            (Some(ProcessId { pid, started }), _) => {
                proc::read_stat(pid).filter(|living| living.started == started)
            }
            (None, Some(Trace::Process { pid, at })) => proc::read_stat(pid)
                .filter(|living| proc::ticks(living.started).is_some_and(|start| start <= at)),
            (None, Some(Trace::NoProcess)) => None,
            (None, None) => self.by_environment().get(run).copied(),
        };
        living.map_or(Ok(None), |living| hold(living, run))
    }

    fn by_environment(&mut self) -> &HashMap<String, ProcessStat> {
        let Self { processes, by_environment } = self;
        by_environment.get_or_insert_with(|| {
            let mut found = HashMap::<String, ProcessStat>::new();
            for living in processes().filter(leads_session) {
                let Some(run) = run_id(living.pid) else { continue };
                // A process that it started can lead a session too.
                let first = found.entry(run).or_insert(living);
                if living.started < first.started {
                    *first = living;
                }
            }
            found
        })
    }
}

/// An action leads a session of its own; processes that it starts usually do not.
fn leads_session(living: &ProcessStat) -> bool {
    living.pid == living.session
}

fn run_id(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let id = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"TWITCHER_RUN_ID="))?;
    String::from_utf8(id.to_vec()).ok()
}

/// Whether a process of this run executes its program. Until then it is a copy of the daemon, with the
/// daemon's program and environment. A function action has the same program, but an environment of its own.
fn has_executed(pid: i32, run: &str) -> bool {
    let program = |process: &str| {
        fs::metadata(format!("/proc/{process}/exe")).ok().map(|program| (program.dev(), program.ino()))
    };
    let is_ours = program(&pid.to_string()).is_some_and(|its| program("self") == Some(its));
    !is_ours || run_id(pid).is_some_and(|id| id == run)
}

fn hold(living: ProcessStat, run: &str) -> io::Result<Option<Orphan>> {
    let leader = Pid::from_raw(living.pid);
    let process = ProcessId { pid: living.pid, started: living.started };
    let Some(watch) = ProcessWatch::of_orphan(process) else { return Ok(None) };
    // Read again, now that a descriptor may hold the process: the number may have gone to another in between.
    let same = proc::read_stat(living.pid).is_some_and(|now| now.started == living.started);
    let has_executed = has_executed(living.pid, run);
    Ok(same.then(|| Orphan { leader, process, watch, age: proc::age(process), has_executed }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn one_pass_over_all_processes_serves_all_runs() {
        let passes = Cell::new(0);
        let mut finder = Finder::new(|| {
            passes.set(passes.get() + 1);
            proc::processes()
        });
        let ours = proc::id_of(Pid::this()).unwrap();
        let now = Duration::from_secs(1 << 40);
        let mut is_found = |run: &str, process, trace| finder.find(run, process, trace).unwrap().is_some();
        assert!(is_found("1.a-1", Some(ours), None));
        assert!(is_found("1.a-1", None, Some(Trace::Process { pid: ours.pid, at: now })));
        assert!(!is_found("1.a-1", None, Some(Trace::Process { pid: ours.pid, at: Duration::ZERO })));
        assert!(!is_found("1.a-1", None, Some(Trace::NoProcess)));
        assert_eq!(passes.get(), 0);
        for run in 0..2000 {
            assert!(!is_found(&format!("1.a-{run}"), None, None));
        }
        assert_eq!(passes.get(), 1);
    }

    #[test]
    fn a_process_executes_its_program_once_it_has_another_program_or_the_runs_environment() {
        let mut sleep = std::process::Command::new("sleep").arg("60").env_clear().spawn().unwrap();
        // It exists before it executes its program.
        while fs::read(format!("/proc/{}/comm", sleep.id())).unwrap() != b"sleep\n" {
            std::thread::yield_now();
        }
        assert!(has_executed(sleep.id().cast_signed(), "1.a-1"));
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert!(!has_executed(std::process::id().cast_signed(), "1.a-1"));
    }
}
