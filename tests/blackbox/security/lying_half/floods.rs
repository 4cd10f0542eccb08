//! A half that says more than anybody needs to know.

use super::*;

// The log stays bounded: what a half says about itself and about nodes is some lines a second.
#[test]
fn a_flood_of_a_half_fills_no_log_and_holds_up_nobody() {
    let floods: [fn(&Scene) -> Vec<Value>; 7] = [
        |scene| vec![down("x"), up(&scene.sandbox.nodes.url())],
        |_| vec![json!({ "Degraded": { "reason": "x".repeat(MAX_TEXT) } })],
        |_| vec![json!({ "Unreadable": { "id": 0, "reason": "x".repeat(MAX_TEXT) } })],
        |_| vec![json!({ "Unreadable": { "id": 0, "reason": "x" } }), absent(0)],
        |_| vec![json!({ "MissedChange": { "id": 1 } })],
        // What need not be passed on costs time as well.
        |_| vec![json!("More")],
        |_| vec![json!({ "Remember": { "memory": "x".repeat(MAX_TEXT) } }), json!({ "Gone": { "id": 0 } })],
    ];
    thread::scope(|scope| {
        for messages in floods {
            scope.spawn(move || survives_a_flood_of(messages));
        }
    });
}

fn survives_a_flood_of(messages: fn(&Scene) -> Vec<Value>) {
    let scene = Scene::new();
    let half = scene.impostor();
    let messages = messages(&scene);
    let (said, slowest) = thread::scope(|scope| {
        let flood = scope.spawn(|| half.flood(Duration::from_secs(5), &messages));
        let mut slowest = Duration::ZERO;
        while !flood.is_finished() {
            let asked = Instant::now();
            scene.status();
            slowest = slowest.max(asked.elapsed());
        }
        (flood.join().expect("it ends"), slowest)
    });
    assert!(said > 100, "{said} messages of {:.100}", messages[0]);
    assert!(slowest < Duration::from_secs(10), "{slowest:?} for a status");
    let lines = scene.daemon.log().len();
    assert!(lines <= 1000, "{lines} lines for {said} messages of {:.100}", messages[0]);
    scene.recovers(half);
}

// It could not be reached any more, and would keep what it has.
#[test]
fn a_half_that_hangs_up_and_lives_on_is_killed() {
    let scene = Scene::new();
    let half = scene.impostor();
    half.hang_up();
    scene.daemon.wait_for_log(&["closed its socket, and has not ended yet"]);
    wait_until("its end", || !half.half.is_alive());
    scene.recovers(half);
}

// What it had said before would be read for half a minute.
#[test]
fn the_end_of_a_half_that_flooded_is_an_outage_at_once() {
    type Ends = fn(&Scene, Impostor) -> Option<Impostor>;
    let ways: [Ends; 2] = [
        |_, half| {
            half.end();
            None
        },
        // Somebody still has its socket.
        |_, half| {
            half.half.signal(Signal::SIGKILL);
            Some(half)
        },
    ];
    for end in ways {
        let scene = Scene::new();
        let half = scene.impostor();
        let pid = half.half.0;
        // There is soon no more room.
        assert!(half.flood(Duration::from_secs(1), &[json!({ "MissedChange": { "id": 1 } })]) > 100);
        let ended = Instant::now();
        let kept = end(&scene, half);
        wait_until("the outage", || scene.status()["daemon"]["stores"][0]["pid"] != pid);
        let noticed = ended.elapsed();
        scene.daemon.wait_for_log(&["not connected", "ended by SIGKILL"]);
        assert!(noticed < Duration::from_secs(10), "{noticed:?}");
        drop(kept);
        wait_until("a healthy daemon", || scene.is_healthy());
        assert_eq!(scene.other.lines(), ["load still"]);
    }
}

// A store that lies concerns no other store.
#[test]
fn another_store_is_served_while_one_floods() {
    require_root();
    let sandbox = Sandbox::directory();
    let (journal, lied) = (sandbox.journal(), sandbox.journal_named("lied"));
    let second = sandbox.path("second");
    fs::create_dir(&second).expect("a directory");
    fs::write(second.join("n"), "0").expect("a node");
    sandbox.nodes.set("/n", "true");
    sandbox.settings(&format!("[stores.second]\nurl = \"dir:{}\"\n", second.display()));
    let config = [
        watch("/n", &exec(&lied.record()), ""),
        watch("/n", &exec(&journal.record()), "store: \"second\", description: \"second\""),
    ];
    sandbox.config("app.twc", config.concat());
    let daemon = sandbox.start();
    journal.wait_for(&["0"]);
    lied.wait_for(&["true"]);
    let status: Value =
        serde_json::from_str(&sandbox.operator(["status", "--json"]).finish().expect(0).text()).unwrap();
    let stores = status["daemon"]["stores"].as_array().expect("stores");
    let url = sandbox.nodes.url();
    let pid = stores.iter().find(|store| store["url"] == url.as_str()).expect("the store")["pid"].as_i64();
    let half = Impostor::of(Process(pid.expect("a process") as i32)).expect("it lives");
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(5);
            let mut revision = 10;
            while Instant::now() < until && half.say_with(&data(0, revision), b"forged", &[]).is_ok() {
                revision += 1;
            }
        });
        let mut value = 0;
        while !flood.is_finished() {
            value += 1;
            fs::write(second.join(".new"), value.to_string()).expect("a node");
            fs::rename(second.join(".new"), second.join("n")).expect("replace it");
            journal.wait_for_last(&value.to_string());
        }
        assert!(value > 3, "{value} updates");
    });
    half.end();
    lied.wait_for_last("true");
    drop(daemon);
}
