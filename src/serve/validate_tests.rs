use super::*;

fn candidate(new: &[u8], old: &[u8]) -> Candidate {
    Candidate { key: "foo".into(), author: "eva".into(), new: new.to_vec(), old: old.to_vec() }
}

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn check(script: &str, timeout: Duration) -> Result<(), String> {
    run(&shell(script), &candidate(b"new\n", b"old\n"), timeout).map_err(|ended| match ended {
        Ended::Refused(said) => format!("refused: {said}"),
        Ended::Unable(why) => format!("unable: {why}"),
    })
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_validator_sees_both_payloads_and_two_words() {
    let script = r#"[ "$(cat)" = new ] && [ "$(cat <&3)" = old ] && 
        [ "$TWITCHER_KEY $TWITCHER_AUTHOR" = "foo eva" ] &&
        [ -z "$HOME" ]"#;
    assert_eq!(check(script, LONG), Ok(()));
    assert_eq!(check("test \"$(id -u)\" != 0", LONG), Ok(()), "it has no rights");
}

#[test]
fn what_a_validator_says_is_told_and_escaped() {
    assert_eq!(check("echo 'line 3: no'; echo why >&2; exit 1", LONG), Err("refused: why".into()));
    assert_eq!(check(r"printf 'a\033[31m\nb\n' >&2; false", LONG), Err("refused: a\\u{1b}[31m\nb".into()));
    let silent = "refused: the validator refuses the payload (exit status: 7)";
    assert_eq!(check("exit 7", LONG), Err(silent.into()));
    let killed = check("kill -9 $$", LONG).unwrap_err();
    assert!(killed.starts_with("refused: the validator refuses the payload (signal: 9"), "{killed}");
    let long = check("yes | head -c 100000 >&2; exit 1", LONG).unwrap_err();
    assert!(long.len() <= MAX_SAID as usize + 100, "{}", long.len());
}

#[test]
fn a_validator_that_hangs_is_killed_with_what_it_started() {
    let begun = Instant::now();
    let hangs = check("sleep 1000 & sleep 1000", Duration::from_millis(200));
    assert_eq!(hangs, Err("unable: it took longer than 0 s, and was killed".into()));
    // It ends, and leaves a process that holds its stderr.
    assert_eq!(check("sleep 1000 >/dev/null & exit 0", LONG), Ok(()));
    assert!(begun.elapsed() < LONG);
}

#[tokio::test]
async fn a_validator_that_cannot_be_run_refuses() {
    let validator = Validator::new(&["/no/such/program".to_owned()]).unwrap();
    let refusal = validator.check(candidate(b"", b"")).await.unwrap_err();
    let why =
        "the validator /no/such/program cannot be asked, so nothing is saved: No such file or directory";
    assert!(refusal.to_string().starts_with(why), "{refusal}");
    assert!(Validator::new(&[]).is_none());
}
