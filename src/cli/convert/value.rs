//! Values of Python, and the code of Rhai that makes the same value.

use std::rc::Rc;

use crate::text::printable;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// The bytes are `None` if only the host knows them, such as its name.
    Text(Option<Rc<[u8]>>),
    List(Items),
    Tuple(Items),
    /// A constant of Twitcher.
    Constant(&'static str),
    /// The result of `Exec`.
    Action,
    Module(String),
}

/// The items of a list, and how deep lists are nested in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    pub values: Rc<[Value]>,
    pub depth: usize,
}

impl Items {
    pub fn new(values: Vec<Value>) -> Self {
        let depth = values.iter().map(|value| match value {
            Value::List(items) | Value::Tuple(items) => items.depth,
            _ => 0,
        });
        Self { depth: depth.max().unwrap_or(0) + 1, values: values.into() }
    }
}

impl Value {
    /// Names the type as messages do.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Constant(name) => name,
            Self::Action => "an Exec(...)",
            Self::Module(_) => "a module",
        }
    }

    /// Whether Python code that has the value can change it.
    pub fn is_mutable(&self) -> bool {
        matches!(self, Self::List(_)) || matches!(self, Self::Tuple(items) if items.depth > 1)
    }
}

/// A value, and the code that makes it.
#[derive(Clone, Debug)]
pub struct Typed {
    pub value: Value,
    pub code: Code,
}

#[derive(Clone, Debug)]
pub enum Code {
    /// A string, put together of pieces.
    Pieces(Vec<Piece>),
    Other(String),
}

#[derive(Clone, Debug)]
pub enum Piece {
    Literal(Vec<u8>),
    /// An expression that is a string if `is_text`, otherwise an int.
    Expression {
        code: String,
        is_text: bool,
    },
}

impl Typed {
    pub fn new(value: Value, code: impl Into<String>) -> Self {
        Self { value, code: Code::Other(code.into()) }
    }

    pub fn literal(bytes: &[u8]) -> Self {
        Self {
            value: Value::Text(Some(bytes.into())),
            code: Code::Pieces(vec![Piece::Literal(bytes.into())]),
        }
    }

    /// Returns the string that `pieces` make, each with its bytes.
    pub fn joined(parts: Vec<(Option<Vec<u8>>, Vec<Piece>)>) -> Self {
        let mut known = Some(Vec::new());
        let mut merged: Vec<Piece> = Vec::new();
        for (bytes, pieces) in parts {
            known = known.zip(bytes).map(|(mut known, bytes)| {
                known.extend(bytes);
                known
            });
            for piece in pieces {
                match (merged.last_mut(), piece) {
                    (_, Piece::Literal(bytes)) if bytes.is_empty() => {}
                    (Some(Piece::Literal(before)), Piece::Literal(bytes)) => before.extend(bytes),
                    (_, piece) => merged.push(piece),
                }
            }
        }
        Self { value: Value::Text(known.map(Rc::from)), code: Code::Pieces(merged) }
    }

    /// Returns what `%s` makes of the value, if it is the same in Rhai.
    pub fn as_part(&self) -> Result<(Option<Vec<u8>>, Vec<Piece>), String> {
        match (&self.value, &self.code) {
            (Value::Text(bytes), Code::Pieces(pieces)) => {
                Ok((bytes.as_ref().map(|bytes| bytes.to_vec()), pieces.clone()))
            }
            (Value::Text(bytes), Code::Other(code)) => {
                let piece = Piece::Expression { code: code.clone(), is_text: true };
                Ok((bytes.as_ref().map(|bytes| bytes.to_vec()), vec![piece]))
            }
            (Value::Int(number), Code::Other(code)) => {
                let piece = Piece::Expression { code: code.clone(), is_text: false };
                Ok((Some(number.to_string().into_bytes()), vec![piece]))
            }
            (value, _) => Err(format!("{} in a string is not translated", value.kind())),
        }
    }

    /// Returns the code as text.
    pub fn rhai(&self) -> Result<String, String> {
        match &self.code {
            Code::Other(code) => Ok(code.clone()),
            Code::Pieces(pieces) => string(pieces),
        }
    }
}

fn string(pieces: &[Piece]) -> Result<String, String> {
    match pieces {
        [] => return Ok("\"\"".into()),
        [Piece::Literal(bytes)] => {
            let text = utf8(bytes)?;
            return Ok(if text.contains('\n') && is_plain(text) { backticks(text) } else { quoted(text) });
        }
        [Piece::Expression { code, is_text: true }] => return Ok(code.clone()),
        _ => {}
    }
    let mut template = String::new();
    let mut sum = vec!["\"\"".to_owned()];
    let mut is_template = true;
    for piece in pieces {
        match piece {
            Piece::Literal(bytes) => {
                let text = utf8(bytes)?;
                is_template &= is_plain(text);
                template += text;
                sum.push(quoted(text));
            }
            Piece::Expression { code, .. } => {
                is_template &= !code.contains(['{', '}', '`']);
                template += &format!("${{{code}}}");
                sum.push(if code.contains(' ') { format!("({code})") } else { code.clone() });
            }
        }
    }
    if is_template && is_start(&template) {
        return Ok(backticks(&template));
    }
    let is_text = matches!(pieces.first(), Some(Piece::Literal(_)));
    Ok(sum[usize::from(is_text)..].join(" + "))
}

fn backticks(text: &str) -> String {
    format!("`{text}`")
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8".to_owned())
}

/// Whether backticks can hold the text as it is.
fn is_plain(text: &str) -> bool {
    let shows = text.split('\n').all(|line| printable(line.as_bytes()) == line);
    shows && is_start(text) && !text.contains(['`', '\t']) && !text.contains("${") && !text.ends_with('$')
}

/// A newline right after a backtick is dropped.
fn is_start(text: &str) -> bool {
    !text.starts_with('\n')
}

/// Returns the text in double quotes.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        let is_odd = printable(c.encode_utf8(&mut [0; 4]).as_bytes()).starts_with('\\') && c != '\\';
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            _ if is_odd || c.is_whitespace() && c != ' ' => match u32::from(c) {
                number @ ..=0xffff => quoted += &format!("\\u{number:04X}"),
                number => quoted += &format!("\\U{number:08X}"),
            },
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
