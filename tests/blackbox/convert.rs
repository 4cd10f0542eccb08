//! `twitcher convert`: configs of the Python original.

use std::fs;
use std::path::PathBuf;

use crate::harness::Sandbox;

fn write(sandbox: &Sandbox, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = sandbox.path(name);
    fs::write(&path, text).expect("write a config of the original");
    path
}

/// Converts a whole config, and checks the result.
fn convert(sandbox: &Sandbox, python: &str) -> String {
    let old = write(sandbox, "old.py", python);
    let finished = sandbox.twitcher(["convert"]).arg(old).finish().expect(0);
    assert_eq!(finished.stderr, "", "{python}");
    let new = write(sandbox, "new.twc", &finished.stdout);
    let checked = sandbox.twitcher(["check", "--lint"]).arg(new).finish().expect(0);
    assert_eq!(checked.stderr, "", "{}", finished.text());
    finished.text()
}

// "`convert` reads ... a Python `.twc` of the original (calls of `RegisterWatch` with keyword arguments,
// constants and `Exec`) and prints Rhai"
#[test]
fn a_converted_config_passes_the_check() {
    let sandbox = Sandbox::directory();
    for python in [
        // The example of the original.
        "# This command will run the given shell script when /brady/test changes.
RegisterWatch(
    znode='/brady/test',
    action=Exec('\\n'.join([
        'date > /tmp/twitcher_example.output',
        'echo \"START ${HOME}\" >> /tmp/twitcher_example.output',
        'cat >> /tmp/twitcher_example.output',
        ])))
",
        "import os, signal
from socket import gethostname
NAMES = ['red', \"green\"]
SITE = os.environ.get('SITE', 'a\"b')
NOBODY = None
for name in NAMES + ['blue']:
    for default, port in [('a', 80), ('b', 0x51)]:
        RegisterWatch(
            znode='/%s/%s/%s/%d' % (gethostname(), name, default, port),
            action=Exec('echo `date` ${name} %s' % default + SITE),
            uid='deploy', gid=NOBODY, notify_signal=signal.SIGHUP, timeout=(1 + 2) * 0.5,
            description='paint ' + name + default)
",
        "for i in range(3):
    STOP = '\\n' + str(i)
    RegisterWatch('/r/{0}'.format(i), Exec(['cat', STOP, r'\\d', '\\x1b[31m', u'\\u202e', '`$' + STOP + '`']),
                  run_mode=PARALLEL, uid=5, gid=0)
",
        "a = Exec('''if true; then
  echo 'x'
fi''')
RegisterWatch(znode='/a', action=a, watch_type=WATCH_CHILDREN, run_mode=DISCARD, pipe_stdin=False)
RegisterWatch('/b', Exec('kill -%d 1; echo %s' % (1, 'x')), None, True, QUEUE,
    None, 0, 0, WATCH_DATA, 10, 1.5)
",
    ] {
        convert(&sandbox, python);
    }
}

#[test]
fn a_converted_config_does_what_the_original_said() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let python = "
JOURNAL = 'PATH'
for name in ['red', 'green']:
    RegisterWatch(
        znode='/colors/%s' % name,
        action=Exec('echo \"%s $(cat) $1\" >> ' % name + JOURNAL),
        run_on_load=(False),
        description='paint-' + name)
RegisterWatch('/direct', Exec(['/bin/sh', '-c', 'echo \"$0 \\x41\" >> ' + JOURNAL, '$(x) \\'`']), False)
"
    .replace("PATH", journal.path());
    let rhai = convert(&sandbox, &python);
    sandbox.nodes.set("/colors/red", "0");
    sandbox.nodes.set("/colors/green", "0");
    sandbox.nodes.set("/direct", "0");
    sandbox.config("app.twc", rhai);
    let _daemon = sandbox.start();
    journal.wait_for(&["$(x) '` A"]);
    sandbox.nodes.set("/colors/green", "1");
    journal.wait_for(&["$(x) '` A", "green 1 "]);
    sandbox.nodes.set("/colors/red", "2");
    journal.wait_for(&["$(x) '` A", "green 1 ", "red 2 "]);
}

// "what it cannot translate it marks in a comment with the line, and exits 1"
#[test]
fn what_is_not_translated_is_marked_and_the_exit_code_is_1() {
    let sandbox = Sandbox::directory();
    let old = write(
        &sandbox,
        "old.twc",
        "import subprocess\n\ndef f():\n  pass\n\nRegisterWatch('/a', f)\nRegisterWatch('/b', Exec('x'))\n",
    );
    let finished = sandbox.twitcher(["convert"]).arg(&old).finish().expect(1);
    finished.expect_said(&["old.twc:1: ", "old.twc:3: a function", "old.twc:6: `f` depends on line 3"]);
    let text = finished.text();
    for line in
        ["// line 1: ", "// line 3: ", "// line 6: ", "//     RegisterWatch('/a', f)\n", "// - stdout"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    let new = write(&sandbox, "new.twc", &finished.stdout);
    sandbox.twitcher(["check", "--lint"]).arg(new).finish().expect(0).expect_said(&["ok, 1 watch"]);
}

#[test]
fn files_that_are_no_configs_of_the_original_are_refused() {
    let sandbox = Sandbox::directory();
    let convert = |path: &PathBuf| sandbox.twitcher(["convert"]).arg(path).finish().expect(1);
    for (text, said) in [
        (&b"RegisterWatch(#{ znode: \"/a\", action: Exec(\"x\") });"[..], "not a Python config of Twitcher"),
        (b"", "not a Python config of Twitcher"),
        (b"# \xe4\nRegisterWatch('/a', Exec('x'))\n", "line 1 is not UTF-8"),
    ] {
        let finished = convert(&write(&sandbox, "old.twc", text));
        finished.expect_said(&["old.twc: ", said]);
        assert_eq!(finished.text(), "");
    }
    convert(&sandbox.path("none.twc")).expect_said(&["none.twc: No such file"]);
    convert(&PathBuf::from("/dev/zero")).expect_said(&["/dev/zero: larger than 4 MiB"]);
    sandbox.twitcher(["convert"]).finish().expect(2);
}

// "`convert` reads a zk_watcher INI file"
#[test]
fn a_converted_ini_file_of_zk_watcher_passes_the_check() {
    let sandbox = Sandbox::directory();
    let service = "[ssh]\ncmd: pgrep -x sshd\nrefresh: 30\nservice_port: 22\nzookeeper_path: /services/ssh\n\
                   zookeeper_data: foo=bar, bah=123\n";
    let old = write(&sandbox, "zk.cfg", service);
    let finished = sandbox.twitcher(["convert"]).arg(old).finish().expect(0);
    assert_eq!(finished.stderr, "");
    let new = write(&sandbox, "new.twc", &finished.stdout);
    let checked = sandbox.twitcher(["check", "--lint"]).arg(new).finish().expect(0);
    assert!(checked.text().ends_with("new.twc: ok, 1 service\n"), "{}", checked.text());
    let old = write(&sandbox, "zk.cfg", service.replace("refresh", "rfresh"));
    let finished = sandbox.twitcher(["convert"]).arg(old).finish().expect(1);
    finished.expect_said(&["zk.cfg:1: there is no refresh"]);
    assert!(finished.text().contains("// NOT CONVERTED, line 1: [ssh]: there is no refresh"));
}

// "Several FILEs": one that is refused does not hide the others.
#[test]
fn several_files_follow_one_another() {
    let sandbox = Sandbox::directory();
    let good = write(&sandbox, "good.twc", "RegisterWatch('/a', Exec('x'))");
    let bad = write(&sandbox, "bad.twc", "x\n");
    let finished = sandbox.twitcher(["convert"]).arg(&bad).arg(&good).finish().expect(1);
    let text = finished.text();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("bad.twc\n") < at("// not converted: ") && at("// not converted: ") < at("good.twc\n"));
    assert!(at("good.twc\n") < at("znode: \"/a\""));
    let finished = sandbox.twitcher(["convert"]).arg(&good).arg(&good).finish().expect(0);
    assert_eq!(finished.text().matches("znode: \"/a\"").count(), 2);
}

// A terminal obeys what others wrote.
#[test]
fn a_terminal_gets_no_sequences_of_the_file() {
    let sandbox = Sandbox::directory();
    let text = "# \x1b[31m\nRegisterWatch('/a\x1b[31m', Exec('\x1b]0;x\x07'))\n# \u{202e}\nx \x1b[0m\n";
    let old = write(&sandbox, "old.twc", text);
    let (code, shown) = sandbox.twitcher(["convert"]).arg(old).env("NO_COLOR", "1").finish_on_terminal(100);
    assert_eq!(code, Some(1));
    assert!(!shown.contains(['\x1b', '\u{202e}', '\x07']), "{shown:?}");
}
