use std::fs::File;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::wait::waitpid;

use super::*;

fn image(words: &[&CStr]) -> Image {
    let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
    let arguments: Vec<_> = words.iter().map(|word| CString::from(*word)).collect();
    let candidates = vec![arguments[0].clone()];
    Image { candidates, arguments, environment: vec![], stdio: [null(), null(), null()], keep: None }
}

fn setup(nice: Option<i32>) -> ChildSetup {
    ChildSetup {
        credentials: None,
        nofile: 1024,
        fsize: libc::RLIM_INFINITY,
        umask: 0o022,
        nice,
        limits: vec![],
        cwd: c"/".to_owned(),
        no_new_privs: false,
    }
}

/// Whether the child ends within `limit`; it is reaped then.
fn ends(child: Pid, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() < until => sleep(Duration::from_millis(1)),
            Ok(WaitStatus::StillAlive) => return false,
            _ => return true,
        }
    }
}

#[test]
fn a_start_that_is_given_up_in_any_moment_leaves_no_action_behind() {
    // Pages to copy: then the child's number is known late.
    let ballast = vec![1u8; 16 << 20];
    for round in 0..100 {
        // With a nice value of its own the child gets a copy of the memory; otherwise it shares it.
        let nice = (round % 4 != 0).then_some(19);
        let attempt = Arc::new(Attempt::default());
        let shared = Arc::clone(&attempt);
        let thread =
            thread::spawn(move || start(&image(&[c"/bin/sleep", c"1000"]), &setup(nice), None, &shared));
        sleep(Duration::from_micros(20 + round * 20));
        attempt.give_up();
        let child = match thread.join().unwrap() {
            // It was executing by then.
            Ok(child) => {
                kill_all(child);
                Some(child)
            }
            Err(failure) => {
                assert!(failure.given_up, "{failure:?}");
                failure.child
            }
        };
        if let Some(child) = child {
            assert!(ends(child, Duration::from_secs(60)), "round {round}: {child} is still alive");
        }
    }
    assert_eq!(ballast[4096], 1);
}

#[test]
fn what_is_killed_takes_along_what_it_started() {
    let script = c"sleep 1000 & echo started; wait";
    let (mut output, pipe) = io::pipe().unwrap();
    let mut image = image(&[c"/bin/sh", c"-c", script]);
    image.stdio[1] = pipe.into();
    let attempt = Attempt::default();
    let leader = start(&image, &setup(None), None, &attempt).unwrap();
    drop(image);
    let mut line = [0; 1];
    output.read_exact(&mut line).unwrap();
    kill_all(leader);
    // The pipe closes once the last of them has ended.
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(ends(leader, Duration::from_secs(60)));
}
