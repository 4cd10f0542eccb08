//! `twitcher check --explain`: every watch as the daemon would load it.

use crate::harness::{Sandbox, require_root, watch};

#[test]
fn explain_prints_every_watch_as_the_daemon_would_load_it() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.config(
        "lib.rhai",
        "fn reg() {\n  RegisterWatch(#{ znode: \"/m\", action: |event| 0, uid: 0, gid: 0 });\n}",
    );
    let full = r#"retry: #{ attempts: 2 }, rlimits: #{ nofile: 64, cpu: 3, core: "unlimited", "as": 4096 },
        notify_signal: "HUP", splay: 3, env: #{ B: "it's", A: 1 }, no_new_privs: true, description: "full",
        run_mode: QUEUE, pipe_stdin: false, on_failure: STOP, min_interval: 2, nice: 5, output: "discard",
        uid: "nobody", gid: 0, timeout: 0.5, debounce: 1, max_data: 65536, cwd: "/srv/a b", umask: 0o7,
        watch_type: WATCH_CHILDREN, run_on_load: CHANGED, guard: #{ not_empty: true, max_shrink: 12.5 }"#;
    let text = [
        watch("/n", r#"Exec(["tool", "a b", ""])"#, full),
        watch("/n", r#"Exec("printf 'x\n\tA'")"#, "run_mode: PARALLEL, max_parallel: 3"),
        "import \"lib\" as lib; lib::reg();\n".to_owned(),
    ]
    .concat();
    sandbox.config("app.twc", text);
    sandbox.config("bad.twc", "RegisterWatch(#{});");
    sandbox.config("sub/other.twc", watch("/o", r#"Exec("true")"#, r#"output: "/var/log/x""#));
    let finished = sandbox.twitcher(["check", "--explain"]).arg(sandbox.configs()).finish().expect(1);
    finished.expect_said(&["bad.twc:1:1: missing key `znode`"]);
    let configs = sandbox.configs();
    let expected = r"CONFIGS/app.twc: ok, 3 watches

app.twc:full
  registered:    CONFIGS/app.twc:1
  store:         default
  znode:         /n
  watch_type:    WATCH_CHILDREN
  action:        tool 'a b' ''
  identity:      nobody, uid 65534, gid 0, groups 0
  run_mode:      QUEUE
  run_on_load:   CHANGED
  pipe_stdin:    false
  notify_signal: SIGHUP (1)
  timeout:       0.5 s
  retry:         attempts 2, delay 1 s, max_delay 60 s
  on_failure:    STOP
  debounce:      1 s
  min_interval:  2 s
  splay:         3 s
  max_data:      65536 bytes
  guard:         not_empty, max_shrink 12.5 %
  env:           A=1
  env:           B='it'\''s'
  cwd:           /srv/a b
  umask:         0o007
  nice:          5
  rlimits:       as 4096 bytes, core unlimited, cpu 3 s, nofile 64
  no_new_privs:  true
  output:        discard

app.twc-2
  registered:    CONFIGS/app.twc:6
  store:         default
  znode:         /n
  watch_type:    WATCH_DATA
  action:        /bin/sh -c 'printf '\''x\n\tA'\'''
  identity:      root, uid 0, gid 0, groups the daemon's
  run_mode:      PARALLEL
  run_on_load:   true
  max_parallel:  3

app.twc-3
  registered:    CONFIGS/lib.rhai:2
  store:         default
  znode:         /m
  watch_type:    WATCH_DATA
  action:        function
  identity:      root, uid 0, gid 0, groups 0
  run_mode:      QUEUE
  run_on_load:   true

CONFIGS/sub/other.twc: ok, 1 watch

sub/other.twc-1
  registered:    CONFIGS/sub/other.twc:1
  store:         default
  znode:         /o
  watch_type:    WATCH_DATA
  action:        /bin/sh -c true
  identity:      root, uid 0, gid 0, groups the daemon's
  run_mode:      QUEUE
  run_on_load:   true
  output:        /var/log/x

"
    .replace("CONFIGS", &configs.display().to_string());
    assert_eq!(finished.text(), expected);

    let only_good = sandbox.twitcher(["check", "--explain"]).arg(configs.join("sub/other.twc")).finish();
    only_good.expect(0);
    // Without `--explain` there is only the summary.
    let plain = sandbox.twitcher(["check"]).arg(configs.join("app.twc")).finish().expect(0);
    assert_eq!(plain.text(), format!("{}/app.twc: ok, 3 watches\n", configs.display()));
}
