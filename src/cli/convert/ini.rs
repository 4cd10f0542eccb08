//! Turns the INI files of zk_watcher into calls of `RegisterService`.
//!
//! The files are those of Python's configparser: sections in brackets, `key = value` or `key: value`,
//! comments in lines that start with `#` or `;`, values that go on in lines with more space before them, a
//! section `DEFAULT` for the others, and `%(key)s` for the value of another key.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::translate::Translation;
use super::value::quoted;
use crate::model::NodePath;
use crate::text::printable;

/// The section with the login, which is no service.
const AUTH: &str = "auth";

/// The section whose values are the defaults of all others.
const DEFAULT: &str = "DEFAULT";

/// The keys that zk_watcher knows.
const KEYS: [&str; 6] =
    ["cmd", "refresh", "service_port", "zookeeper_path", "service_hostname", "zookeeper_data"];

/// How often a value may name other values, as in configparser.
const MAX_DEPTH: usize = 10;

pub const HEADER: &str = "\
// Made by `twitcher convert` from an INI file of zk_watcher. What differs, whatever a file says:
// - The member is called HOSTNAME:PORT with the name that `uname -n` prints; zk_watcher took the name that
//   the resolver knows (`hostname -f`) unless service_hostname was set. Set `address` to keep another name.
// - The node can be written by its creator only (`acl: READ`); without a login, zk_watcher let everybody
//   write it (`acl: OPEN`).
// - A check starts in /, with PATH, HOME, USER and TWITCHER_* as its environment. It runs as the daemon's
//   user unless `uid` says otherwise.
// docs/migration-zk_watcher.md has the whole list.

";

/// What stands in the place of the login.
const LOGIN: &str = "\
// [auth]: put the login into twitcher.toml, and user:password into a file that only root can read:
//   [[auth]]
//   scheme = \"digest\"
//   credentials = { file = \"/etc/twitcher/zookeeper.auth\" }

";

/// A section: its line, its name, and its keys with their lines.
struct Section {
    line: usize,
    name: String,
    values: BTreeMap<String, (usize, String)>,
}

/// Whether this looks like an INI file: the first line that says something is a section.
pub fn is_ini(source: &str) -> bool {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut lines = source.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line));
    lines.next().is_some_and(|line| section_name(line).is_some())
}

/// Translates a file. What cannot be translated stands in the result as a comment.
pub fn translate(source: &str) -> Translation {
    let mut translation = Translation { rhai: String::new(), marks: Vec::new() };
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let sections = sections(source, &mut translation.marks);
    let defaults = sections.iter().find(|section| section.name == DEFAULT);
    for section in sections.iter().filter(|section| section.name != DEFAULT) {
        if section.name == AUTH {
            translation.rhai += LOGIN;
            continue;
        }
        match service(section, defaults) {
            Ok(code) => translation.rhai += &code,
            Err((line, why)) => {
                let _ = writeln!(
                    translation.rhai,
                    "// NOT CONVERTED, line {line}: [{}]: {}\n",
                    printable(section.name.as_bytes()),
                    printable(why.as_bytes())
                );
                translation.marks.push((line, why));
            }
        }
    }
    translation
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.is_empty())
}

fn sections(source: &str, marks: &mut Vec<Fault>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut key: Option<String> = None;
    for (number, line) in source.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let text = line.trim();
        if text.is_empty() || is_comment(text) {
            continue;
        }
        let goes_on = line.starts_with(char::is_whitespace);
        if let (true, Some(key), Some(section)) = (goes_on, &key, sections.last_mut()) {
            if let Some((_, value)) = section.values.get_mut(key) {
                value.push('\n');
                value.push_str(text);
            }
            continue;
        }
        if let Some(name) = section_name(text) {
            key = None;
            sections.push(Section { line: number, name: name.to_owned(), values: BTreeMap::new() });
            continue;
        }
        match (text.split_once(['=', ':']), sections.last_mut()) {
            (Some((name, value)), Some(section)) => {
                let name = name.trim().to_lowercase();
                section.values.insert(name.clone(), (number, value.trim().to_owned()));
                key = Some(name);
            }
            (_, _) => {
                key = None;
                marks.push((number, "this line is neither a section nor a key with a value".to_owned()));
            }
        }
    }
    sections
}

/// The line, and what is wrong there.
type Fault = (usize, String);

impl Section {
    /// Returns the line and the value of a key, with the values in the place of `%(key)s`.
    fn get(&self, key: &str, defaults: Option<&Section>) -> Result<Option<(usize, String)>, Fault> {
        let found = self.values.get(key).or_else(|| defaults?.values.get(key));
        let Some((line, value)) = found else { return Ok(None) };
        let value = self.interpolated(value, defaults, 0).map_err(|why| (*line, format!("{key}: {why}")))?;
        Ok(Some((*line, value)))
    }

    fn interpolated(&self, text: &str, defaults: Option<&Section>, depth: usize) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err("values name one another without an end".to_owned());
        }
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            result.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                result.push('%');
                rest = after;
                continue;
            }
            let inner = after.strip_prefix('(').and_then(|after| after.split_once(")s"));
            let (name, after) = inner.ok_or("a % that is neither %% nor %(key)s")?;
            let name = name.to_lowercase();
            let found = self.values.get(&name).or_else(|| defaults?.values.get(&name));
            let (_, value) = found.ok_or_else(|| format!("there is no key {name}"))?;
            result.push_str(&self.interpolated(value, defaults, depth + 1)?);
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }
}

/// Writes the call for a section.
fn service(section: &Section, defaults: Option<&Section>) -> Result<String, Fault> {
    let get = |key: &str| section.get(key, defaults);
    let required = |key: &str| get(key)?.ok_or_else(|| (section.line, format!("there is no {key}")));
    let (line, path) = required("zookeeper_path")?;
    let path = path.trim_end_matches('/').to_owned();
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    NodePath::parse(&path).map_err(|error| (line, format!("zookeeper_path: {error}")))?;
    let (line, port) = required("service_port")?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| (line, "service_port is not between 1 and 65535".to_owned()))?;
    let (line, refresh) = required("refresh")?;
    let refresh = refresh.parse::<u32>().ok().filter(|seconds| (1..=31_622_400).contains(seconds));
    let refresh = refresh.ok_or_else(|| (line, "refresh is not between 1 s and a year".to_owned()))?;
    let (line, command) = required("cmd")?;
    // zk_watcher used no shell: it cut the command at each space.
    let words: Vec<&str> = command.split(' ').collect();
    if words[0].is_empty() || command.contains('\0') {
        return Err((line, "cmd does not begin with a program".to_owned()));
    }
    let mut code = String::from("RegisterService(#{\n");
    let mut key = |name: &str, value: String| code += &format!("    {name}: {value},\n");
    key("description", quoted(&section.name));
    key("service", quoted(&path));
    key("port", port.to_string());
    if let Some((line, host)) = get("service_hostname")? {
        let address = format!("{host}:{port}");
        NodePath::parse(&format!("/{address}"))
            .ok()
            .filter(|_| !host.contains('/'))
            .ok_or_else(|| (line, "service_hostname cannot be part of a node's name".to_owned()))?;
        key("address", quoted(&address));
    }
    if let Some((line, data)) = get("zookeeper_data")? {
        match data_of(&data).map_err(|why| (line, format!("zookeeper_data: {why}")))? {
            Value::Object(map) if map.is_empty() => {}
            data => key("data", rhai_value(&data).map_err(|why| (line, format!("zookeeper_data: {why}")))?),
        }
    }
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    key("check", format!("Exec([{}])", words.join(", ")));
    key("interval", refresh.to_string());
    key("timeout", "90".to_owned());
    key("fall", "1".to_owned());
    code += "});\n";
    for (unknown, (line, _)) in section.values.iter().filter(|(name, _)| !KEYS.contains(&name.as_str())) {
        let unknown = printable(unknown.as_bytes());
        let _ = writeln!(code, "// line {line}: zk_watcher does not know {unknown} either");
    }
    code.push('\n');
    Ok(code)
}

/// Returns the data as zk_watcher read it: JSON, or pairs.
fn data_of(text: &str) -> Result<Value, String> {
    let data = serde_json::from_str(text).unwrap_or_else(|_| {
        let pairs = text.split(',').filter_map(|pair| {
            let mut parts = pair.split('=');
            let pair = (parts.next()?.to_owned(), Value::String(parts.next()?.to_owned()));
            parts.next().is_none().then_some(pair)
        });
        Value::Object(pairs.collect())
    });
    match data {
        Value::Object(_) => Ok(data),
        // A text stands for an object with one key.
        Value::String(text) => Ok(serde_json::json!({ "string_value": text })),
        _ => Err("it is neither an object nor pairs".to_owned()),
    }
}

/// Writes a value of JSON in Rhai.
fn rhai_value(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Null => "()".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) if number.is_i64() => number.to_string(),
        Value::Number(number) => {
            let float = number.as_f64().filter(|_| number.is_f64());
            format!("{:?}", float.ok_or_else(|| format!("{number} is larger than an int of Rhai can be"))?)
        }
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(rhai_value).collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| {
                // In quotes, a word of the language is a key as well.
                Ok(format!("{}: {}", quoted(key), rhai_value(value)?))
            });
            match pairs.collect::<Result<Vec<_>, String>>()? {
                pairs if pairs.is_empty() => "#{}".to_owned(),
                pairs => format!("#{{ {} }}", pairs.join(", ")),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_becomes_a_service() {
        let source = "\u{feff}# services of this host
[DEFAULT]
refresh: 15
[ssh]
cmd = pgrep  -x %(program)s
program = sshd
service_port = 22
zookeeper_path = /services/ssh
zookeeper_data = foo=bar, bah = 123
[web]
cmd: curl -fsS http://localhost/100%%
service_hostname: web1.example.com
service_port: 80
zookeeper_path: services/web/
refresh: 5
zookeeper_data: { \"weight\": 10,
  \"as\": [true, null, 1.5] }
[auth]
user = a
password = b
";
        let Translation { rhai, marks } = translate(source);
        assert_eq!(marks, []);
        let ssh = "RegisterService(#{
    description: \"ssh\",
    service: \"/services/ssh\",
    port: 22,
    data: #{ \" bah \": \" 123\", \"foo\": \"bar\" },
    check: Exec([\"pgrep\", \"\", \"-x\", \"sshd\"]),
    interval: 15,
    timeout: 90,
    fall: 1,
});
// line 6: zk_watcher does not know program either

";
        assert!(rhai.starts_with(ssh), "{rhai}");
        let web = "RegisterService(#{
    description: \"web\",
    service: \"/services/web\",
    port: 80,
    address: \"web1.example.com:80\",
    data: #{ \"as\": [true, (), 1.5], \"weight\": 10 },
    check: Exec([\"curl\", \"-fsS\", \"http://localhost/100%\"]),
    interval: 5,
    timeout: 90,
    fall: 1,
});
";
        assert!(rhai.contains(web), "{rhai}");
        assert!(
            rhai.contains("// [auth]: put the login into twitcher.toml") && !rhai.contains("password = b")
        );
    }

    #[test]
    fn what_cannot_be_a_service_is_marked_with_its_line() {
        const WHOLE: &str = "cmd = true\nrefresh = 5\nservice_port = 1\nzookeeper_path = /s\n";
        for (source, line, why) in [
            ("[a]\ncmd = true\n", 1, "there is no zookeeper_path"),
            ("[a]\nzookeeper_path = /a//b\n", 2, "zookeeper_path: node path"),
            ("[a]\nzookeeper_path = /s\nservice_port = x\n", 3, "service_port is not between"),
            ("[a]\nzookeeper_path = /s\nservice_port = 1\nrefresh = 0\n", 4, "refresh is not between"),
            (&format!("[a]\n{WHOLE}cmd =\n"), 6, "cmd does not begin with a program"),
            (&format!("[a]\n{WHOLE}service_hostname = a/b\n"), 6, "cannot be part of a node's name"),
            (&format!("[a]\n{WHOLE}zookeeper_data = [1]\n"), 6, "it is neither an object nor pairs"),
            (&format!("[a]\n{WHOLE}cmd = 50% x\n"), 6, "cmd: a % that is neither"),
            (&format!("[a]\n{WHOLE}cmd = %(cmd)s\n"), 6, "cmd: values name one another without an end"),
            (&format!("[a]\n{WHOLE}nonsense\n"), 6, "neither a section nor a key"),
        ] {
            let Translation { rhai, marks } = translate(source);
            assert_eq!(marks.len(), 1, "{source}: {marks:?}");
            assert!(marks[0].0 == line && marks[0].1.contains(why), "{source}: {marks:?}");
            assert!(why.contains("neither a section") || rhai.contains("// NOT CONVERTED, line"), "{rhai}");
        }
        assert!(is_ini("; c\n\n[a]\n") && !is_ini("RegisterWatch()") && !is_ini("a = 1\n[b]\n"));
    }
}
