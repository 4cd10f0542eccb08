//! Mistakes, one config each, with every message that `check` gives.

use super::{Case, check};

// Modules and imports.
#[test]
fn modules_and_imports() {
    check(MODULES);
}

#[rustfmt::skip]
const MODULES: &[Case] = &[
    ("import \"lib/usaul\" as usual;", &[
        "1:8: cannot import \"lib/usaul\": lib/usaul.rhai: no such module",
    ]),
    ("import \"usual\" as u;\nu::quite();", &[
        "2:4: unknown function `u::quite`; did you mean `quiet`?",
    ]),
    ("import \"usual\" as u;\nRegisterWatch(u::quiet() + #{ znode: u::ROT, action: Exec(\"x\") });", &[
        "2:41: unknown variable `u::ROT`; did you mean `ROOT`?",
    ]),
    ("import \"../x\" as x;", &[
        "1:8: cannot import \"../x\": it lies outside the config directory",
    ]),
    ("import \"/etc/x\" as x;", &[
        "1:8: cannot import \"/etc/x\": an absolute path; name the module relative to the importing \
         file",
    ]),
    ("usual::quiet();", &[
        "1:8: unknown module `usual`; nothing is imported as `usual`",
    ]),
    ("import \"broken\" as b;", &[
        "broken.rhai:1:9: Syntax error: Unexpected ';'",
    ]),
    ("import \"usual\" as u;\nu::quiet(1);", &[
        "2:4: the function `quiet` takes 0 arguments, not 1",
    ]),
    ("import \"usual\" as u;\nlet x = u::HIDDEN;", &[
        "2:12: the module of `u` does not export `HIDDEN`; write `export` before it",
    ]),
];

// Texts with `${...}`.
#[test]
fn texts_with_placeholders() {
    check(INTERPOLATION);
}

#[rustfmt::skip]
const INTERPOLATION: &[Case] = &[
    ("let name = \"a\";\nRegisterWatch(#{ znode: \"/n/${name}\", action: Exec(\"true\") });", &[
        "2:25: a text in double quotes takes ${name} as it stands; put the text in backticks, \
         `...${name}...`, for the value",
    ]),
    ("let name = \"a\";\nRegisterWatch(#{ znode: \"/n\", action: Exec(\"echo ${name}\") });", &[
        "2:44: a text in double quotes takes ${name} as it stands; put the text in backticks, \
         `...${name}...`, for the value, or write $name for a variable of the shell",
    ]),
    ("RegisterWatch(#{ znode: \"/n/${hostname()}\", action: Exec(\"true\") });", &[
        "1:25: a text in double quotes takes ${hostname()} as it stands; put the text in backticks, \
         `...${hostname()}...`, for the value",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"echo ${hostname()}\") });", &[
        "1:44: a text in double quotes takes ${hostname()} as it stands; put the text in backticks, \
         `...${hostname()}...`, for the value",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| log(\"got ${event.text}\") });", &[
        "1:51: a text in double quotes takes ${event.text} as it stands; put the text in backticks, \
         `...${event.text}...`, for the value",
    ]),
    ("RegisterWatch(#{ znode: `/n/${nme}`, action: Exec(\"true\") });", &[
        "1:31: unknown variable `nme`",
    ]),
];

// Names that the code does not see.
#[test]
fn names_that_the_code_does_not_see() {
    check(SCOPE);
}

#[rustfmt::skip]
const SCOPE: &[Case] = &[
    ("let site = \"a\";\nfn act(event) {\n    log(site);\n}\nRegisterWatch(#{ znode: \"/n\", action: \
      Fn(\"act\") });", &[
        "3:9: `site` is not visible in a function; give it to the function as an argument, or use a \
         closure, |event| ..., which sees it",
    ]),
    ("const SITE = \"a\";\nfn act(event) {\n    log(SITE);\n}\nRegisterWatch(#{ znode: \"/n\", \
      action: Fn(\"act\") });", &[
        "3:9: `SITE` is not visible in a function; write global::SITE",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| log(evnt.text) });", &[
        "1:51: unknown variable `evnt`",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| { let line = event.text; log(lin); } });", &[
        "1:76: unknown variable `lin`",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| { for c in event.changes { log(c.path); } } });", &[
        "1:80: this value has no field `path`; its fields are znode, event, version, size, text, data",
    ]),
    ("const SITE = \"a\";\nlet x = global::SIET;", &[
        "2:17: unknown constant `global::SIET`; did you mean `SITE`?",
    ]),
];

// Functions, fields of the event, and results.
#[test]
fn functions_and_fields() {
    check(FUNCTIONS);
}

#[rustfmt::skip]
const FUNCTIONS: &[Case] = &[
    ("RegisterWach(#{ znode: \"/n\", action: Exec(\"x\") });", &[
        "1:1: unknown function `RegisterWach`; did you mean `RegisterWatch`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: exec(\"x\") });", &[
        "1:39: unknown function `exec`; did you mean `Exec`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"\") });", &[
        "1:39: Exec: the command is empty",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec([\"a\", 3]) });", &[
        "1:39: Exec: word 1 is an int, not a string",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"a\", \"b\") });", &[
        "1:39: Exec takes one argument: a string for the shell, or an array [program, argument...]",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| parse_jsn(event.text) });", &[
        "1:47: unknown function `parse_jsn`; did you mean `parse_json`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| log(event.txt) });", &[
        "1:57: the event has no field `txt`; did you mean `text`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| log(event.text.tirm()) });", &[
        "1:62: unknown function `tirm`",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| run(\"x\").cod });", &[
        "1:56: this value has no field `cod`; did you mean `code`?",
    ]),
    ("fn helper(a, b) { a }\nRegisterWatch(#{ znode: \"/n\", action: |event| helper(event) });", &[
        "2:47: the function `helper` takes 2 arguments, not 1",
    ]),
    ("read_file(\"/etc/hosts\");", &[
        "1:1: unknown function `read_file` here: it exists in the function of an action only, not \
         while the config is loaded",
    ]),
    ("sleep(1);", &[
        "1:1: `sleep` is not available here: a config cannot wait; an action can",
    ]),
    ("let x = 1 + [2] - \"a\";", &[
        "1:11: `+` does not work with an int and an array",
    ]),
    ("let x = \"abc\".len(3);", &[
        "1:15: `len` does not work with a string and an int; a function of that name takes other \
         arguments",
    ]),
];

// Functions as actions.
#[test]
fn functions_as_actions() {
    check(POINTERS);
}

#[rustfmt::skip]
const POINTERS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Fn(\"depoly\") });\nfn deploy(event) {}", &[
        "1:31: `action`: unknown function `depoly`; did you mean `deploy`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Fn(\"deploy\") });\nfn deploy() {}", &[
        "1:31: `action`: the function `deploy` must take one argument, the event",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |a, b| 1 });", &[
        "1:31: `action`: the closure takes 2 arguments; it must take one, the event",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: || 1 });", &[
        "1:31: `action`: the closure takes 0 arguments; it must take one, the event",
    ]),
];
