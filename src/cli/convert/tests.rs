//! Snippets of Python and what becomes of them.

use proptest::prelude::*;

use super::translate::translate;

/// Returns what is printed for the source, without the header, and the marks.
fn converted(source: &str) -> (String, Vec<(usize, String)>) {
    let translation = translate(source).expect("it calls RegisterWatch");
    (translation.rhai, translation.marks)
}

/// Translates an expression, which becomes the command of a watch.
fn command(python: &str) -> String {
    let (rhai, marks) = converted(&format!("NAME = 'x'\nRegisterWatch('/n', Exec({python}))\n"));
    assert_eq!(marks, [], "{python}");
    let start = rhai.find("action: Exec(").expect(python) + "action: Exec(".len();
    rhai[start..].strip_suffix("),\n});\n").expect(python).to_owned()
}

/// Returns the lines that are marked, and the first reason.
fn marked(source: &str) -> (Vec<usize>, String) {
    let (rhai, marks) = converted(&format!("{source}\nRegisterWatch('/last', Exec('true'))\n"));
    for (line, why) in &marks {
        assert!(rhai.contains(&format!("// line {line}: {why}")), "{rhai}");
    }
    let first = marks.first().map(|(_, why)| why.clone()).unwrap_or_default();
    (marks.into_iter().map(|(line, _)| line).collect(), first)
}

#[test]
fn strings_keep_their_bytes() {
    for (python, rhai) in [
        ("'a'", r#""a""#),
        (r#""a""#, r#""a""#),
        ("'say \"hi\"'", r#""say \"hi\"""#),
        (r#"'it\'s'"#, r#""it's""#),
        (r"'\x41\101\t\\n\q'", r#""AA\t\\n\\q""#),
        (r"r'\n\d'", r#""\\n\\d""#),
        (r#"R"\"x""#, r#""\\\"x""#),
        (r"'\u00e4'", r#""\\u00e4""#),
        (r"u'\u00e4'", r#""ä""#),
        (r"b'x'", r#""x""#),
        (r"'\xc3\xa4'", r#""ä""#),
        ("'a' \"b\"\\\n  'c'", r#""abc""#),
        ("'a\\\nb'", r#""ab""#),
        ("'''a 'b'\nc'''", "`a 'b'\nc`"),
        ("'''\na'''", r#""\na""#),
        ("'a\\n`b`'", r#""a\n`b`""#),
        ("'a\\n${b}'", r#""a\n${b}""#),
        ("'# no comment'", r##""# no comment""##),
        (r"'\x1b\0331'", r#""\u001B\u001B1""#),
    ] {
        assert_eq!(command(python), rhai, "{python}");
    }
}

#[test]
fn expressions_say_in_rhai_what_they_say_in_python() {
    for (python, rhai) in [
        ("'run ' + NAME", "`run ${NAME}`"),
        ("NAME + ''", "NAME"),
        ("NAME", "NAME"),
        ("'%s is %d%%' % (NAME, 5)", "`${NAME} is ${5}%`"),
        ("'`%s`' % NAME", r#""`" + NAME + "`""#),
        ("'$%s' % NAME", r#""$" + NAME"#),
        ("'\\n%s' % NAME", r#""\n" + NAME"#),
        ("'{0} {1} {{}} {n}'.format(NAME, 2, n=NAME)", "`${NAME} ${2} {} ${NAME}`"),
        ("'{}{}'.format(NAME, NAME)", "`${NAME}${NAME}`"),
        ("' && '.join(['a', NAME])", "`a && ${NAME}`"),
        ("'a' + str(5)", "`a${5}`"),
        ("['run', 'it', NAME]", r#"["run", "it", NAME]"#),
        ("('run', '$(x)')", r#"["run", "$(x)"]"#),
        ("['a'] + [NAME]", r#"["a"] + [NAME]"#),
    ] {
        assert_eq!(command(python), rhai, "{python}");
    }
}

#[test]
fn every_argument_of_the_original_has_its_key() {
    let source = "\
import signal
USER = 'deploy'
RegisterWatch(
    znode='/a', action=Exec('x'), pipe_stdin=False, run_on_load=False, run_mode=QUEUE, description='d',
    uid=USER, gid=0, watch_type=WATCH_CHILDREN, notify_signal=signal.SIGHUP, timeout=2 * 60)
RegisterWatch('/b', Exec('y'), None, True, PARALLEL, None, 0, 0, WATCH_DATA, 10, 1.5)
RegisterWatch('/c', Exec('z'), run_mode=DISCARD, uid=010)
";
    let expected = "\
let USER = \"deploy\";
RegisterWatch(#{
    znode: \"/a\",
    action: Exec(\"x\"),
    pipe_stdin: false,
    run_on_load: false,
    run_mode: QUEUE,
    description: \"d\",
    uid: USER,
    gid: 0,
    watch_type: WATCH_CHILDREN,
    notify_signal: SIGHUP,
    timeout: 2 * 60,
});
// uid=0 is left out: it counted as not given
// notify_signal is left out: PARALLEL never sends it
// gid=0 is left out: it counted as not given
RegisterWatch(#{
    znode: \"/b\",
    action: Exec(\"y\"),
    run_on_load: true,
    run_mode: PARALLEL,
    max_parallel: 64, // the original had no limit
    watch_type: WATCH_DATA,
    timeout: 1.5,
});
// without gid, the action gets the primary group of its user; in the original, it kept the daemon's group
RegisterWatch(#{
    znode: \"/c\",
    action: Exec(\"z\"),
    run_mode: DISCARD,
    uid: 8,
});
";
    assert_eq!(converted(source), (expected.to_owned(), Vec::new()));
}

#[test]
fn loops_variables_and_comments_stay() {
    let source = "\
#!/usr/bin/python
# -*- coding: utf-8 -*-
'''Paints.'''
from socket import gethostname
# Each color.
COLORS = ['red', 'green']  # only two

for name in COLORS:
    # its node
    STOP = name + '!'
    RegisterWatch(znode='/%s/%s' % (gethostname(), name),
                  action=Exec('paint ' + STOP),  # fast
                  description=name)
for who, n in (('a', 1), ('b', 2)): RegisterWatch('/' + who, Exec('echo %d' % n)); pass
for n in xrange(2):
    for m in [3]: RegisterWatch('/%s/%s' % (n, m), Exec('x'))
# The end.
";
    let expected = "\
// Paints.
// Each color.
// only two
let COLORS = [\"red\", \"green\"];

for name in COLORS {
    // its node
    let STOP_ = `${name}!`;
    // fast
    RegisterWatch(#{
        znode: `/${hostname()}/${name}`,
        action: Exec(`paint ${STOP_}`),
        description: name,
    });
}
for row in [[\"a\", 1], [\"b\", 2]] {
    let who = row[0];
    let n = row[1];
    RegisterWatch(#{
        znode: `/${who}`,
        action: Exec(`echo ${n}`),
    });
}
for n in range(0, 2) {
    for m in [3] {
        RegisterWatch(#{
            znode: `/${n}/${m}`,
            action: Exec(\"x\"),
        });
    }
}
// The end.
";
    assert_eq!(converted(source), (expected.to_owned(), Vec::new()));
}

#[test]
fn what_is_not_translated_is_a_comment_with_its_line() {
    let source = "\
A = '/a'
def deploy():
\treturn 1  # done

RegisterWatch(znode=A, action=deploy)
RegisterWatch(znode=A, action=Exec('x'))
";
    let expected = "\
let A = \"/a\";
// line 2: a function is not translated; write fn NAME(event) { ... } and Fn(\"NAME\")
//     def deploy():
//         return 1  # done

// line 5: `deploy` depends on line 2, which is not translated
//     RegisterWatch(znode=A, action=deploy)
RegisterWatch(#{
    znode: A,
    action: Exec(\"x\"),
});
";
    let (rhai, marks) = converted(source);
    assert_eq!(rhai, expected);
    assert_eq!(marks.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 5]);
}

#[test]
fn nothing_that_may_differ_goes_unmarked() {
    for (source, lines, why) in [
        ("RegisterWatch('/a', lambda: 1)", vec![1], "lambda"),
        ("RegisterWatch('/a/', Exec('x'))", vec![1], "empty component"),
        ("RegisterWatch('a', Exec('x'))", vec![1], "not absolute"),
        ("RegisterWatch('/a')", vec![1], "no `action`"),
        ("RegisterWatch('/a', 'x')", vec![1], "`action` must not be a string"),
        ("RegisterWatch('/a', Exec('x'), foo=1)", vec![1], "no argument `foo`"),
        ("RegisterWatch('/a', Exec('x'), znode='/b')", vec![1], "twice"),
        ("RegisterWatch('/a', Exec('x'), **more)", vec![1], "`**`"),
        ("RegisterWatch('/a', Exec('x'), timeout=0)", vec![1], "`timeout`"),
        ("RegisterWatch('/a', Exec('x'), timeout='5')", vec![1], "`timeout` must not be a string"),
        ("RegisterWatch('/a', Exec('x'), uid=-1)", vec![1], "not a valid id"),
        ("RegisterWatch('/a', Exec('x'), run_on_load=1)", vec![1], "must not be an int"),
        ("RegisterWatch('/a', Exec('x'), run_mode=1)", vec![1], "must not be an int"),
        ("RegisterWatch('/a', Exec('x'), notify_signal=34)", vec![1], "between 1 and 31"),
        ("RegisterWatch('/a', Exec('x'), run_mode=DISCARD, notify_signal=1)", vec![1], "DISCARD"),
        ("for d in ['a', 'b']: RegisterWatch('/a', Exec('x'), description='d')", vec![1], "another watch"),
        ("RegisterWatch('/a', Exec(''))", vec![1], "empty command"),
        ("RegisterWatch('/a', Exec([]))", vec![1], "no program"),
        ("RegisterWatch('/a', Exec('a\\0'))", vec![1], "NUL"),
        ("RegisterWatch('/a', Exec('\\xff'))", vec![1], "not UTF-8"),
        ("RegisterWatch('/a', Exec('%05d' % 1))", vec![1], "only %s and %d"),
        ("RegisterWatch('/a', Exec('%s' % True))", vec![1], "a bool in a string"),
        ("RegisterWatch('/a', Exec('%s %s' % 'a'))", vec![1], "too few"),
        ("RegisterWatch('/a', Exec('%s' % ('a', 'b')))", vec![1], "too many"),
        ("RegisterWatch('/a', Exec('x'), timeout=7 / 2)", vec![1], "`/`"),
        ("RegisterWatch('/a', Exec(f'{x}'))", vec![1], "Python 3"),
        ("x = 'open", vec![1], "not closed"),
        ("x = 99999999999999999999", vec![1], "a number"),
        ("if True:\n    A = 1\nelse:\n    A = 2\nB = A", vec![1, 5], "`if`"),
        ("L = ['a']\nL.append('b')\nfor l in L: RegisterWatch('/' + l, Exec(l))", vec![2, 3], "append"),
        ("L = ['a']\nM = L\nM.append('b')\nfor l in L: pass", vec![3, 4], "append"),
        ("A = 'a'\nA += 'b'\nB = A", vec![2, 3], "`+=`"),
        ("A = 'a'\n(A, B) = f()\nC = A", vec![2, 3], "`="),
        ("A = 'a'\nx = [A for A in 'xy']\nB = A", vec![2, 3], "comprehension"),
        ("A = 'a'\nexecfile('more')\nB = A", vec![2, 3, 4], "execfile"),
        ("from more import *\nA = 1", vec![1, 3], "import"),
        ("for i in [1]: pass\nA = i", vec![2], "loop of line 1"),
        ("for i in [1]:\n    A = 1\nB = A", vec![3], "loop of line 1"),
        ("for i in []: pass", vec![1], "nothing to do"),
        ("for i in [1]: pass\nelse: pass", vec![1], "`for`"),
        ("for i in [1, 2]: RegisterWatch('/a', Exec('x'), uid=i - 1)", vec![1], "rounds"),
        ("for i in ['a']:\n    RegisterWatch('/a', lambda: i)", vec![1], "line 2: a function"),
        ("QUEUE = 5", vec![1, 2], "another meaning"),
        ("  A = 1", vec![1], "indentation"),
        ("import subprocess", vec![1], "import"),
        ("A = os.getpid()", vec![1], "`os`"),
        ("import os\nA = os.getpid()", vec![2], "os.getpid"),
        ("print 'x'", vec![1], "`print`"),
        ("A = {'a': 1}", vec![1], "dictionary"),
    ] {
        let (found, first) = marked(source);
        let found_here: Vec<_> = found.iter().copied().filter(|line| lines.contains(line)).collect();
        assert!(first.contains(why), "{source}: {first}");
        match source {
            // The last line depends on names that are lost.
            "QUEUE = 5" => assert_eq!(found, [1]),
            _ => assert_eq!(found_here, found, "{source}"),
        }
    }
}

#[test]
fn other_files_are_told_apart() {
    for text in [
        "",
        "# only a comment about RegisterWatch\n",
        "[service]\ncmd = check\nzookeeper_path = /services/web\n",
        "RegisterWatch(#{ znode: \"/a\", action: Exec(\"x\") });\n",
        "print('RegisterWatch')\n",
    ] {
        assert_eq!(translate(text), None, "{text}");
    }
}

#[test]
fn what_grows_without_end_is_marked() {
    let deep = format!("{}{}", "(".repeat(100_000), ")".repeat(100_000));
    let doubled = format!("A = 'xxxxxxxxxxxxxxxx'\n{}", "A = A + A\n".repeat(60));
    let nested = format!("A = []\n{}", "A = [A]\n".repeat(5_000));
    let blocks: String =
        (0..500).map(|depth| format!("{}for a{depth} in [1]:\n", " ".repeat(depth))).collect();
    let sum = format!("A = 'x'{}", " + 'x'".repeat(50_000));
    for source in [&*deep, &*doubled, &*nested, &*blocks, "A = 1 - 1", &*"-".repeat(50_000), &*sum] {
        let (lines, _) = marked(source);
        let is_fine = source.starts_with("A = 1") || source == sum;
        assert_eq!(lines.is_empty(), is_fine, "{}", &source[..20.min(source.len())]);
    }
}

/// Pieces of which configs are made.
const PIECES: [&str; 44] = [
    "RegisterWatch(",
    "Exec(",
    ")",
    "(",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "'",
    "\"",
    "'''",
    "\\",
    "\n",
    "    ",
    "\t",
    "#",
    ";",
    ".",
    "+",
    "%",
    "-",
    "*",
    "for ",
    " in ",
    "A",
    "B",
    "znode=",
    "action=",
    "'%s'",
    "'/a'",
    "1",
    "0x",
    "1.5e",
    "u'\\u00",
    "def f",
    "import ",
    "lambda",
    "\u{202e}",
    "ä",
    "\r\n",
    ".join(",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Each line of the result is a comment, or comes from a statement that was understood.
    #[test]
    fn no_text_breaks_it(text in ".{0,200}", pieces in prop::collection::vec(0..PIECES.len(), 0..80)) {
        let made: String = pieces.iter().map(|index| PIECES[*index]).collect();
        for source in [&text, &made, &format!("RegisterWatch('/a', Exec('x'))\n{made}")] {
            if let Some(translation) = translate(source) {
                for (line, why) in &translation.marks {
                    prop_assert!(*line > 0 && !why.is_empty());
                }
                prop_assert!(!translation.rhai.contains('\r'));
            }
        }
    }
}
