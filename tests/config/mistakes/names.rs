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
        "1:39: Exec: word 2 is an int, not a string",
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

// Calls of Twitcher's own functions, with what they do not take or where they do not exist.
#[test]
fn calls_of_built_in_functions() {
    check(BUILT_IN);
}

#[rustfmt::skip]
const BUILT_IN: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: |event| log() });", &[
        "1:47: log takes one argument, what to write: log(text)",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| run(1, 2, 3, 4) });", &[
        "1:47: run takes one argument: a string for the shell, or an array [program, argument...]",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| read_file() });", &[
        "1:47: read_file takes one argument, the path: read_file(\"/path\")",
    ]),
    ("fn save() { write_file(\"/x\") }\nRegisterWatch(#{ znode: \"/n\", action: |event| save() });", &[
        "1:13: write_file takes the path, and a string or a blob: write_file(\"/path\", text)",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| { let t = \"\"; parse_json(t, 1) } });", &[
        "1:61: parse_json takes one argument, a string: parse_json(text)",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| hostname(1) });", &[
        "1:47: hostname takes no argument",
    ]),
    ("hostname(1);", &[
        "1:1: hostname takes no argument",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| env() });", &[
        "1:47: env takes the name of a variable, and what to return if it is not set: \
         env(\"NAME\", \"default\")",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| Exec(\"x\") });", &[
        "1:47: unknown function `Exec` here: it exists while the config is loaded only, not in the function \
         of an action",
    ]),
    ("fn act(event) { help(event) }\nfn help(it) { RegisterWatch(#{}) }\n\
      RegisterWatch(#{ znode: \"/n\", action: Fn(\"act\") });", &[
        "2:15: unknown function `RegisterWatch` here: it exists while the config is loaded only, not in the \
         function of an action",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| event.log(\"x\") });", &[
        "1:53: log takes one argument, what to write: log(text); before a dot stands the first one",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| event.text.parse_json(1) });", &[
        "1:58: parse_json takes one argument, a string: parse_json(text); before a dot stands the first one",
    ]),
    ("log();", &[
        "1:1: unknown function `log` here: it exists in the function of an action only, not while the config \
         is loaded",
    ]),
];

// Fields of the event, however they are read, also by a function that is given the event.
#[test]
fn fields_of_the_event() {
    check(FIELDS);
}

#[rustfmt::skip]
const FIELDS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: |event| log(event.changes[0].tex) });", &[
        "1:68: this value has no field `tex`; did you mean `text`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |e| { let all = e.changes; for c in all { c.siz } } });", &[
        "1:83: this value has no field `siz`; did you mean `size`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| event[\"dat\"] });", &[
        "1:53: the event has no field `dat`; did you mean `data`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| event[\"changes\"][0][\"siz\"] });", &[
        "1:67: this value has no field `siz`; did you mean `size`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: |event| event?.commit?.autor });", &[
        "1:62: the commit has no field `autor`; did you mean `author`?",
    ]),
    ("fn helper(n, ev) { log(ev.txet) }\n\
      RegisterWatch(#{ znode: \"/n\", action: |event| helper(1, event) });", &[
        "1:27: the event has no field `txet`; did you mean `text`?",
    ]),
    ("fn act(event) { first(event) }\nfn first(ev) { for c in ev.changes { second(ev, c) } }\n\
      fn second(ev, c) { log(ev.txet + c.txet) }\nRegisterWatch(#{ znode: \"/n\", action: Fn(\"act\") });", &[
        "3:27: the event has no field `txet`; did you mean `text`?",
        "3:36: this value has no field `txet`; did you mean `text`?",
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
